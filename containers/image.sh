#!/usr/bin/env bash
# Build the container image that the locks ask for: make image, make image-sif.
#   image.sh build     with apptainer, podman or docker, the first that is here; RUNTIME=… names one
#   image.sh convert   what podman or docker has built, into a file for apptainer
# TORCH=cpu|cuda chooses the build of torch. BASE_IMAGE=… is what the container image stands on, BUILD_BASE_IMAGE=… what
# its packages are made in: names at a registry or, for apptainer, files and folders too. Files for apptainer go into
# the folder URBANVLM_IMAGES=…
set -euo pipefail
images=$(realpath --canonicalize-missing "${URBANVLM_IMAGES:-$(dirname "$0")/images}")
unset CDPATH # cd would look there first
cd "$(dirname "$0")"
source ./locks.sh

say() { echo "image: $*" >&2; }
die() {
    say "$*"
    exit 2
}

# find_runtime NAME…: the one that RUNTIME names, else the first that is here.
find_runtime() {
    local name
    [[ " $* " == *" ${RUNTIME:-$1} "* ]] || die "RUNTIME is '$RUNTIME'; it is one of: $*"
    for name in "$@"; do
        if [[ ${RUNTIME:-$name} == "$name" ]] && command -v "$name" > /dev/null; then
            echo "$name"
            return
        fi
    done
    die "not installed here: ${RUNTIME:-$*}; install one, or build on another machine and copy the container image here"
}

# need_room GIGABYTES FOLDER ADVICE: a disk is to be found full before the work, not after half of it.
need_room() {
    local folder=$2 free
    while [[ ! -d $folder ]]; do folder=$(dirname "$folder"); done
    free=$(($(df --output=avail --block-size=1M "$folder" | tail -n 1) / 1024))
    ((free >= $1)) || die "$2: $free GB are free, and this needs $1 GB there: $3"
}

# Of the names at a registry Apptainer finds out itself, while it builds.
need_base() {
    local said
    if [[ $1 == /* ]]; then
        [[ $runtime == apptainer ]] || die "base image $1: a file is for apptainer; $runtime takes names"
        [[ -e $1 ]] || die "base image $1: no such file or folder"
    elif [[ $runtime != apptainer ]] && ! "$runtime" image inspect "$1" > /dev/null 2>&1; then
        say "fetching the base image $1"
        said=$("$runtime" pull --quiet "$1" 2>&1) || die "base image $1: ${said##*$'\n'}"
    fi
}

build() {
    local runtime base build_base
    runtime=$(find_runtime apptainer podman docker)
    if [[ $flavour == cuda ]]; then # of torch's major version; the compiler is needed in the first stage only
        base=docker.io/nvidia/cuda:13.0.2-base-ubuntu24.04 build_base=docker.io/nvidia/cuda:13.0.2-devel-ubuntu24.04
    else
        base=docker.io/library/debian:12-slim build_base=docker.io/library/debian:12-slim
    fi
    build_base=${BUILD_BASE_IMAGE:-${BASE_IMAGE:-$build_base}}
    base=${BASE_IMAGE:-$base}
    need_base "$base"
    need_base "$build_base"
    local arguments=(
        --build-arg "BASE_IMAGE=$base" --build-arg "BUILD_BASE_IMAGE=$build_base"
        --build-arg "FLAVOUR=$flavour" --build-arg "LOCK=$lock"
        --build-arg "VERSION=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' ../urbanvlm/__init__.py)"
        --build-arg "COMMIT=$(git describe --always --dirty --abbrev=40 --exclude='*' 2> /dev/null || echo unknown)"
    )
    "build_with_$runtime"
}

build_with_apptainer() {
    local agent=docker build_agent=docker
    if [[ $base == /* ]]; then agent=localimage; fi
    if [[ $build_base == /* ]]; then build_agent=localimage; fi
    need_room_for_file
    write_file urbanvlm.def --build-arg "BOOTSTRAP=$agent" --build-arg "BUILD_BOOTSTRAP=$build_agent" "${arguments[@]}"
}

build_with_podman() {
    need_room "${gigabytes[$flavour]}" "$(podman info --format '{{.Store.GraphRoot}}')" "podman system prune"
    say "building $name on $base"
    podman build --format docker --tag "$name" "${arguments[@]}" . || # OCI's format knows no health check
        die "$name could not be built, see above"
    say_built "$name" "$(podman image inspect --format '{{.Size}}' "$name")"
}

build_with_docker() {
    need_room "${gigabytes[$flavour]}" "$(docker info --format '{{.DockerRootDir}}')" "docker system prune"
    say "building $name on $base"
    docker build --tag "$name" "${arguments[@]}" . || die "$name could not be built, see above"
    say_built "$name" "$(docker image inspect --format '{{.Size}}' "$name")"
}

convert() {
    local runtime
    runtime=$(find_runtime podman docker)
    command -v apptainer > /dev/null || die "not installed here: apptainer, which writes its file itself"
    "$runtime" image inspect "$name" > /dev/null 2>&1 ||
        die "$runtime has no $name: make image TORCH=$flavour RUNTIME=$runtime builds it"
    need_room_for_file
    "$runtime" save --output "$archive" "$name"
    write_file "docker-archive:$archive"
}

need_room_for_file() {
    need_room "${gigabytes[$flavour]}" "$temporary" "free some, or name another folder: APPTAINER_TMPDIR=…"
    need_room "${gigabytes_of_file[$flavour]}" "$images" "free some, or name another folder: URBANVLM_IMAGES=…"
}

# write_file SOURCE OPTION…: whoever looks sees a whole file or none. zstd packs ten times as fast as Apptainer's gzip.
write_file() {
    local source=$1
    shift
    say "building $file"
    mkdir -p "$images"
    apptainer build --force --mksquashfs-args '-comp zstd -Xcompression-level 3' "$@" "$part" "$source" ||
        die "$file could not be built, see above"
    mv "$part" "$file"
    say_built "$file" "$(stat --format %s "$file")"
}

say_built() { echo "$1: $(numfmt --to=si --suffix=B "$2"), built in $((SECONDS / 60)) min $((SECONDS % 60)) s"; }

flavour=${TORCH:-cuda}
[[ $flavour =~ ^(cpu|cuda)$ ]] || die "TORCH is '$flavour'; it is cpu or cuda"
lock=$(lock_hash "$flavour")
name=localhost/urbanvlm:$flavour-$lock
file=$images/urbanvlm-$flavour-$lock.sif
part=$file.$$
temporary=${APPTAINER_TMPDIR:-${TMPDIR:-/tmp}}
archive=$temporary/urbanvlm-$flavour-$lock.$$
trap 'rm -f "$part" "$archive"' EXIT
# What a build takes at its largest, and what it leaves. Those of CUDA are summed up from the parts, not measured.
declare -A gigabytes=([cpu]=8 [cuda]=40) gigabytes_of_file=([cpu]=1 [cuda]=5)

case ${1:-} in
    build | convert) "$1" ;;
    *) die "unknown argument '${1:-}'; it is build or convert" ;;
esac
