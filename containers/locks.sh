# shellcheck shell=bash
# What the locks of this folder are for: installing them, and naming what was installed from them. To be sourced.

# The packages of a flavour of torch, in 12 digits. urbanvlm/locks.py computes the same.
lock_hash() {
    local folder
    folder=$(dirname "${BASH_SOURCE[0]}")
    cat "$folder/requirements.lock" "$folder/torch-$1.lock" | sha256sum | cut -c1-12
}

# The entry of a package in requirements.lock.
locked() { awk "/^$1==/,/[^\\\\]\$/" "$(dirname "${BASH_SOURCE[0]}")/requirements.lock"; }

# install_locked PYTHON ARGUMENT…: pip install, from locks alone.
# --no-deps: the locks are complete, and pip check proves it. --no-compile: Python compiles what it imports, which is
# little of it. deepspeed comes as source only; it is built before torch is there, so that the build is the same on every
# machine, with the setuptools of the lock, which therefore comes before everything else.
install_locked() {
    local python=$1
    shift
    "$python" -m pip install --disable-pip-version-check --no-deps --no-compile --require-hashes \
        --only-binary :all: --no-binary deepspeed --no-build-isolation --use-pep517 "$@"
}
