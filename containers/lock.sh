#!/usr/bin/env bash
# Make the locks from the .in files: every package pinned with its hashes, for every Python from 3.10 on.
# What is pinned already stays as it is; to renew a package, delete its entry.
set -euo pipefail
unset CDPATH # cd would look there first
cd "$(dirname "$0")"
PYTHON=${PYTHON:-python3}
export UV_PYTHON_DOWNLOADS=never

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# uv itself comes from the lock it is about to renew.
awk '/^uv==/,/[^\\]$/' dev.lock > "$work/uv.lock"
"$PYTHON" -m venv "$work/venv"
pip() { "$work/venv/bin/python" -m pip "$@"; }
pip install --quiet --disable-pip-version-check --require-hashes -r "$work/uv.lock"
compile() { "$work/venv/bin/uv" pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header "$@" > /dev/null; }

# torch and the CUDA libraries only its registry build needs are resolved with everything else, then split off.
cat requirements.lock torch-cuda.lock > "$work/all.lock"
compile requirements.in torch.in --output-file "$work/all.lock"
awk -v cuda="$work/cuda" -v rest="$work/rest" \
    '/^[a-zA-Z0-9]/ { file = /^(torch==|triton==|cuda-|nvidia-)/ ? cuda : rest } { print > file }' "$work/all.lock"

# The CPU build has a version of its own, so it can never be mistaken for the other. No index that everybody has serves
# it: the lock keeps the hashes it has, and gains that of the wheel that pip finds here, if there is one.
cpu="$(grep '^torch==' torch.in)+cpu"
{
    grep -qxF "$cpu \\" torch-cpu.lock && grep -o 'sha256:[0-9a-f]*' torch-cpu.lock
    if pip download --quiet --disable-pip-version-check --no-deps --dest "$work" "$cpu" 2> /dev/null; then
        pip hash "$work"/torch-*.whl | grep -o 'sha256:[0-9a-f]*'
    else
        echo "lock: pip finds no $cpu here; torch-cpu.lock keeps its hashes" >&2
    fi
} | sort -u > "$work/hashes"
[ -s "$work/hashes" ] || {
    echo "lock: no hash known for $cpu: run make lock where pip finds such a wheel" >&2
    exit 2
}
sed -e "1i $cpu \\\\" -e 's/.*/    --hash=& \\/' "$work/hashes" | sed '$ s/ \\$//' > "$work/cpu"

header='# Made by make lock; do not edit.'
write() { { echo "$header" && cat "$work/$1"; } > "$work/done" && mv "$work/done" "$2"; }
write rest requirements.lock
write cuda torch-cuda.lock
write cpu torch-cpu.lock

cp dev.lock "$work/dev"
compile dev.in --constraints requirements.lock --output-file "$work/dev"
write dev dev.lock
