#!/usr/bin/env bash
# What is in the container image. Both recipes, Dockerfile and urbanvlm.def, run this in each of their two stages:
#   install.sh packages   the stage that is thrown away: /opt/urbanvlm, a virtual environment of the locked packages
#   install.sh system     the stage that stays: what those need of the distribution, and image.json, which says what is in
# Told by the environment: FLAVOUR (cpu or cuda) and LOCK; for image.json also VERSION, COMMIT and BASE_IMAGE.
set -euo pipefail
umask 022 # readable for whoever runs it
source "$(dirname "$0")/locks.sh"

recipe=$(dirname "$0")
venv=/opt/urbanvlm
python=$venv/bin/python3

die() {
    echo "install: $*" >&2
    exit 2
}

distribution() {
    command -v apt-get > /dev/null || die "the base image has no apt-get: take one of Debian or Ubuntu"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "$@" > /dev/null
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
}

# Nothing may be compiled where the image runs: the fused optimizers of DeepSpeed are compiled here, for every GPU that
# CUDA 13 and torch know. They need torch, so this is a second build of a package that is there already. Without a GPU
# in sight, DeepSpeed would take it that its optimizers are to run on CPUs.
compile_operators() {
    command -v nvcc > /dev/null || die "the base image of the build stage has no nvcc: BUILD_BASE_IMAGE is a -devel one"
    DS_ACCELERATOR=cuda DS_BUILD_FUSED_ADAM=1 DS_BUILD_CPU_ADAM=1 \
        TORCH_CUDA_ARCH_LIST='7.5;8.0;8.6;8.9;9.0;10.0;12.0+PTX' \
        install_locked "$python" -qq --force-reinstall -r <(locked deepspeed)
}

packages() {
    local needed=(python3 python3-venv)
    if [[ $FLAVOUR == cuda ]]; then needed+=(python3-dev g++); fi
    distribution "${needed[@]}"
    export PIP_NO_CACHE_DIR=1 PATH=$venv/bin:$PATH
    /usr/bin/python3 -m venv "$venv"
    install_locked "$python" -qq -r <(locked setuptools)
    install_locked "$python" -qq -r "$recipe/requirements.lock"
    install_locked "$python" -qq -r "$recipe/torch-$FLAVOUR.lock"
    if [[ $FLAVOUR == cuda ]]; then compile_operators; fi
    "$python" -m pip check

    # Whoever runs the image cannot keep what Python compiles, so what the test imports is kept for them; by content,
    # because copying from stage to stage does not keep the times by which Python compares otherwise.
    "$python" "$venv/selftest.py"
    find "$venv" -path '*/__pycache__/*.pyc' | sed -E 's|__pycache__/([^/]*)\.cpython-[0-9]+\.pyc$|\1.py|' |
        "$python" -m compileall -qq -f --invalidation-mode checked-hash -i -
}

system() {
    local found
    found=$(lock_hash "$FLAVOUR")
    [[ $found == "$LOCK" ]] || die "the locks in here are $found, but LOCK is $LOCK: build with make image"
    distribution python3 ca-certificates
    "$python" -c '
import json, os
facts = dict(version="VERSION", commit="COMMIT", flavour="FLAVOUR", lock="LOCK", base="BASE_IMAGE")
print(json.dumps({name: os.environ[variable] for name, variable in facts.items()}, indent=2))' > "$venv/image.json"
}

[[ ${FLAVOUR:-} =~ ^(cpu|cuda)$ ]] || die "FLAVOUR is '${FLAVOUR:-}'; it is cpu or cuda: build with make image"
case ${1:-} in
    packages | system) "$1" ;;
    *) die "unknown argument '${1:-}'; it is packages or system" ;;
esac
