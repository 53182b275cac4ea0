#!/bin/sh
# Builds zvit with every warning an error and runs all the tests and checks. Installs what is
# missing. Exit code 0 only when everything passed; the last lines are ctest's summary.
set -eu
cd "$(dirname "$0")/.."
. tools/setup.sh
# The pages are looked at in a browser, and exports by onnx's checker, where they are worth their download.
extra=
[ "${CI:-}" = true ] && extra="chromium chromium-driver python3 python3-onnx python3-numpy"
# shellcheck disable=SC2086
zvit_setup check libopenmpi-dev openmpi-bin g++ groff-base libcairo2-dev libmicrohttpd-dev libprotobuf-c-dev protobuf-c-compiler $extra

jobs=$(nproc 2>/dev/null || echo 1)
cmake -S . -B build/test -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER="${CC:-gcc}" \
    -DZVIT_TESTS=ON -DZVIT_WERROR=ON
cmake --build build/test -j "$jobs"

# Who may include whom, and the format where clang-format 14 is there, are tests as well.
exec ctest --test-dir build/test -j "$jobs" --output-on-failure
