#!/usr/bin/env bash
# Make .venv from the hashed locks, or find it made already. Usage: containers/venv.sh [dev]
# TORCH=cpu|cuda chooses the build of torch; PYTHON=… the interpreter that .venv is made with.
set -euo pipefail
unset CDPATH # cd would look there first
cd "$(dirname "$0")/.."
source containers/locks.sh

say() { echo "venv: $*" >&2; }
die() {
    say "$*"
    exit 2
}
digest() { cat "$@" | sha256sum | cut -d' ' -f1; }

locks=$(digest containers/{requirements,torch-cpu,torch-cuda}.lock)
dev_lock=$(digest containers/dev.lock)

# The stamps: "$locks $flavour" and "$dev_lock". The first is empty while .venv is being made; a .venv without it is
# somebody else's.
is_made() {
    local made
    read -r made 2> /dev/null < .venv/made-from || return 1
    [[ $made == "$locks ${TORCH:-}"* ]] && .venv/bin/python -c '' 2> /dev/null
}
has_dev() { [[ -f .venv/made-from-dev && $(< .venv/made-from-dev) == "$dev_lock" ]]; }
is_enough() { is_made && { [[ $want != dev ]] || has_dev; }; }

try_install() { install_locked .venv/bin/python "$@"; }
install() { try_install "$@" || die "pip failed, see above; the same command starts again"; }

# Whether pip finds a wheel that torch-cpu.lock knows by its hash. What is not known for certain counts as yes: the other
# build is gigabytes, and not the answer to a network that fails.
has_cpu_wheel() {
    local wanted listed wheels=.venv/wheels
    wanted=$(grep -o '^torch==[^ ]*' containers/torch-cpu.lock)
    listed=$(.venv/bin/python -m pip index versions torch 2> /dev/null) || listed=
    if ! grep -qwF -- "${wanted#torch==}" <<< "$listed"; then
        # Nothing of torch at all: no index answers, or it has none, and then the other build would fail as well.
        [[ -z $listed ]]
        return
    fi
    rm -rf "$wheels"
    local hash=
    if .venv/bin/python -m pip download -qq --no-deps --only-binary :all: --dest "$wheels" "$wanted" > /dev/null 2>&1; then
        hash=$(cat "$wheels"/torch-*.whl | sha256sum | cut -d' ' -f1)
    fi
    rm -rf "$wheels"
    # Every line has the empty word.
    grep -qF -- "$hash" containers/torch-cpu.lock
}

# Prints the build it took.
install_torch() {
    local flavour=${TORCH:-} log=.venv/pip.log
    if [[ -z $flavour ]]; then
        flavour=cpu
        if timeout 20 nvidia-smi > /dev/null 2>&1; then flavour=cuda; fi
    fi
    if [[ $flavour == cpu ]]; then
        say "torch, CPU build"
        if try_install -qq -r containers/torch-cpu.lock 2> "$log"; then
            echo cpu
            return
        fi
        if [[ -n ${TORCH:-} ]] || has_cpu_wheel; then
            cat "$log" >&2
            die "the CPU build of torch could not be installed, see above; TORCH=cuda takes the other one"
        fi
        say "pip finds no CPU wheel of torch here that containers/torch-cpu.lock knows: taking the CUDA build instead"
    fi
    say "torch, CUDA build: about 5 GB; it runs without a GPU too"
    install -r containers/torch-cuda.lock >&2
    echo cuda
}

make_venv() {
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2> /dev/null ||
        die "$PYTHON is not Python 3.10 or newer; name one: make venv PYTHON=python3.11"
    "$PYTHON" -c 'import venv, ensurepip' 2> /dev/null ||
        die "$PYTHON lacks venv; install it (Debian: apt-get install python3-venv) or name another: PYTHON=…"
    [[ ! -e .venv || -e .venv/made-from ]] || rmdir .venv 2> /dev/null ||
        die ".venv was not made by make; move it away or remove it"
    say "making .venv with $("$PYTHON" --version): about 1.5 GB, with the CUDA build of torch 5 GB"
    rm -rf .venv.old
    if [[ -e .venv ]]; then mv .venv .venv.old; fi # whole, so that a stop while removing it leaves no .venv without stamp
    rm -rf .venv.old
    mkdir .venv
    : > .venv/made-from
    "$PYTHON" -m venv .venv
    keep_pip_sources .venv/bin/python
    install -qq -r <(locked setuptools)
    say "the packages of containers/requirements.lock"
    install -qq -r containers/requirements.lock
    local flavour
    flavour=$(install_torch)
    .venv/bin/python -m pip check > .venv/pip.log || {
        cat .venv/pip.log >&2
        die "the locks do not fit together; run make lock"
    }
    # An installation that went elsewhere, or nowhere, shows here.
    .venv/bin/python -c 'import torch, transformers, yaml' || die "what was installed cannot be imported, see above"
    echo "$locks $flavour" > .venv/made-from
    say "done"
}

want=${1:-}
[[ $want == "" || $want == dev ]] || die "unknown argument '$want'; it is 'dev' or nothing"
[[ ${TORCH:-cpu} =~ ^(cpu|cuda)$ ]] || die "TORCH is '$TORCH'; it is cpu, cuda, or not given"
if is_enough; then exit; fi

unset PYTHONPATH PYTHONHOME PYTHONSTARTUP # packages and a library of another Python
PATH=${PATH//"$PWD/.venv/bin:"/} # an activated .venv must not make itself
PYTHON=${PYTHON:-python3}
command -v "$PYTHON" > /dev/null || die "no $PYTHON here; install Python 3.10 or newer"
exec 9> .venv.lock
flock --nonblock 9 || {
    say "another make is at it, waiting"
    flock 9
}
if ! is_made; then make_venv; fi
if [[ $want == dev ]] && ! has_dev; then
    keep_pip_sources .venv/bin/python
    say "the packages of containers/dev.lock"
    install -qq -r containers/dev.lock
    echo "$dev_lock" > .venv/made-from-dev
fi
