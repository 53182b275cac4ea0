#!/bin/bash
# Builds zvit for arm64 on a Debian machine of another kind and runs suites of it under qemu.
#   tools/arm64.sh [SUITE...]     default: those of the numerics and the model
# Needs gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user and curl. The libraries are Debian's
# for arm64, downloaded and unpacked below build/arm64; nothing is installed and apt stays as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
suites=${*:-gemm vmath layernorm gelu linear mlp rope attention attention_zeros attention_zeros_causal attention_zeros_sm
    attention_softmax attention_linear model optimizer slots}
for tool in aarch64-linux-gnu-gcc qemu-aarch64 curl; do
    command -v "$tool" >/dev/null || {
        echo "tools/arm64.sh: $tool is missing (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user curl)" >&2
        exit 1
    }
done

here=$PWD/build/arm64
root=$here/root
triple=aarch64-linux-gnu
mkdir -p "$here/apt/lists/partial" "$here/apt/cache/archives/partial" "$here/debs" "$root"
if [ ! -e "$root/complete" ]; then
    # An apt of its own: no package counts as installed, so that all that is needed is listed.
    apt=(apt-get -qq -oAPT::Architecture=arm64 -oAPT::Architectures=arm64 -oDir::State::Lists="$here/apt/lists"
         -oDir::Cache="$here/apt/cache" -oDir::State::status=/dev/null -oDebug::NoLocking=1)
    "${apt[@]}" update
    "${apt[@]}" install --print-uris --no-install-recommends -y libc6-dev libopenblas-openmp-dev libsleef-dev \
        libcjson-dev libjpeg-dev libpng-dev check libgomp1 | sed "s/^'//; s/'.*//" >"$here/uris"
    (cd "$here/debs" && xargs -n 8 curl -fsS --remote-name-all <"$here/uris")
    for deb in "$here"/debs/*.deb; do dpkg -x "$deb" "$root"; done
    touch "$root/complete"
fi

cat >"$here/toolchain.cmake" <<END
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER $triple-gcc)
set(CMAKE_SYSROOT "$root")
set(CMAKE_C_FLAGS_INIT "-isystem $root/usr/include/$triple")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-Wl,-rpath-link,$root/lib/$triple:$root/usr/lib/$triple:$root/usr/lib/$triple/openblas-openmp")
set(CMAKE_SHARED_LINKER_FLAGS_INIT "\${CMAKE_EXE_LINKER_FLAGS_INIT}")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
END
export PKG_CONFIG_SYSROOT_DIR=$root
export PKG_CONFIG_LIBDIR=$root/usr/lib/$triple/openblas-openmp/pkgconfig:$root/usr/lib/$triple/pkgconfig:$root/usr/share/pkgconfig
cmake -S . -B "$here/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_TOOLCHAIN_FILE="$here/toolchain.cmake" \
    -DZVIT_WERROR=ON -DZVIT_CAIRO=OFF -DZVIT_MICROHTTPD=OFF
targets=(zvit)
for suite in $suites; do targets+=("test_$suite"); done
cmake --build "$here/build" --target "${targets[@]}"

libraries=$root/lib/$triple:$root/usr/lib/$triple:$root/usr/lib/$triple/openblas-openmp
failed=0
for suite in $suites; do
    echo "== test_$suite"
    CK_TIMEOUT_MULTIPLIER=20 OMP_NUM_THREADS=2 qemu-aarch64 -L "$root" -E LD_LIBRARY_PATH="$libraries" \
        "$here/build/tests/test_$suite" | tail -4 || failed=1
done
exit $failed
