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

# keep_pip_sources PYTHON: of pip's settings, in the environment and in its files, only what says where packages come from
# and how to get there is kept. The others change what is installed or where: targets, constraints, dry runs.
keep_pip_sources() {
    local setting kept=()
    mapfile -d '' kept < <("$1" -c '
import ast, importlib.util, subprocess, sys
kept = """index-url extra-index-url find-links no-index proxy cert client-cert trusted-host timeout default-timeout retries
cache-dir no-cache-dir keyring-provider use-feature""".split()
found = {}
said = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True)
if said.returncode:
    sys.stderr.write(said.stderr.decode(errors="replace"))
    sys.exit("pip cannot read its settings, see above: mend or remove what it names")
lines = [line.partition("=") for line in said.stdout.decode(errors="replace").splitlines()]
for section in ("global", "install", ":env:"):
    for key, _, value in lines:
        start, _, name = key.rpartition(".")
        if start == section and name in kept:
            found[name] = str(ast.literal_eval(value))
# Of the features one is about certificates. An older pip fails where it lacks the package that this needs.
has_truststore = any(map(importlib.util.find_spec, ("pip._vendor.truststore", "truststore")))
if "truststore" in found.pop("use-feature", "").split() and has_truststore:
    found["use-feature"] = "truststore"
for name, value in found.items():
    sys.stdout.write("PIP_" + name.upper().replace("-", "_") + "=" + value + "\0")')
    wait "$!" || exit 2
    unset "${!PIP_@}"
    for setting in "${kept[@]}"; do export "${setting?}"; done
    export PIP_CONFIG_FILE=/dev/null
}

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
