#!/bin/bash
# Makes the archives that -DZVIT_STATIC=ON needs and Debian does not have, DIR/lib/libsleef.a and DIR/lib/libcjson.a, and
# leaves nothing else. A few minutes.
#   tools/static_libs.sh DIR [SLEEF CJSON]     SLEEF, CJSON: folders with the sources
# Without folders the sources are Debian's, with its patches, where the machine's lists have them (deb-src), or else the
# releases, whose checksums are below.
set -euo pipefail
fail() {
    echo "tools/static_libs.sh: $*" >&2
    exit 1
}
[ $# -eq 1 ] || [ $# -eq 3 ] || fail "$# arguments (expected DIR or DIR SLEEF CJSON)"
for tool in cmake cc ar; do
    command -v $tool >/dev/null || fail "$tool is missing (Debian: cmake gcc binutils)"
done
mkdir -p "$1/lib"
prefix=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# source_of NAME URL SHA256: prints the folder with the sources, $work/NAME.
source_of() {
    mkdir -p "$work/$1.d"
    cd "$work/$1.d"
    if command -v dpkg-source >/dev/null && apt-get -qq -oAPT::Sandbox::User= source "$1" >"$work/log" 2>&1; then
        echo "$1: Debian's $(basename ./*.dsc .dsc)" >&2
    else
        rm -rf ./*
        command -v curl >/dev/null || fail "curl is missing (Debian: curl)"
        curl -fsSL --retry 2 -o archive "$2" || fail "$1: Debian's sources are not in apt's lists, and $2 cannot be downloaded"
        echo "$3  archive" | sha256sum --check --quiet >&2 || fail "$2 does not have the checksum $3"
        tar -xzf archive
        echo "$1: $2" >&2
    fi
    mv -- */ "$work/$1"
    echo "$work/$1"
}

if [ $# -eq 3 ]; then
    sleef=$(realpath "$2") cjson=$(realpath "$3")
else
    sleef=$(source_of sleef https://github.com/shibatch/sleef/archive/refs/tags/3.5.1.tar.gz \
        415ee9b1bcc5816989d3d4d92afd0cd3f9ee89cbd5a33eb008e69751e40438ab)
    cjson=$(source_of cjson https://github.com/DaveGamble/cJSON/archive/refs/tags/v1.7.19.tar.gz \
        7fa616e3046edfa7a28a32d5f9eacfd23f92900fe1f8ccd988c1662f30454562)
fi
[ -f "$sleef/src/libm/sleefsimdsp.c" ] || fail "$sleef is not SLEEF's source"
[ -f "$cjson/cJSON.c" ] || fail "$cjson is not cJSON's source"

cc -O2 -fPIC -c "$cjson/cJSON.c" -o "$work/cJSON.o"
rm -f "$prefix/lib/libcjson.a"
ar rcs "$prefix/lib/libcjson.a" "$work/cJSON.o"
cmake -S "$sleef" -B "$work/build" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DBUILD_TESTS=OFF -DBUILD_DFT=OFF \
    -DBUILD_QUAD=OFF -DBUILD_GNUABI_LIBS=OFF -DBUILD_SCALAR_LIB=OFF -DCMAKE_POSITION_INDEPENDENT_CODE=ON \
    >"$work/log" 2>&1 || fail "cmake refuses SLEEF: $(tail -5 "$work/log")"
cmake --build "$work/build" --parallel "${JOBS:-$(nproc)}" --target sleef >"$work/log" 2>&1 ||
    fail "SLEEF does not build: $(tail -5 "$work/log")"
cp "$work/build/lib/libsleef.a" "$prefix/lib"
ls -l "$prefix"/lib/libsleef.a "$prefix"/lib/libcjson.a
