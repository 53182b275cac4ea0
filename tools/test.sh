#!/bin/sh
# Builds zvit with every warning an error and runs all the tests and checks. Installs what is
# missing. Exit code 0 only when everything passed; the last lines are ctest's summary.
set -eu
cd "$(dirname "$0")/.."
. tools/setup.sh
# The pages are looked at in a browser where one is worth its download.
browser=
[ "${CI:-}" = true ] && browser="chromium chromium-driver python3"
# shellcheck disable=SC2086
zvit_setup check g++ groff-base libcairo2-dev libmicrohttpd-dev $browser

jobs=$(nproc 2>/dev/null || echo 1)
cmake -S . -B build/test -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER="${CC:-gcc}" \
    -DZVIT_TESTS=ON -DZVIT_WERROR=ON
cmake --build build/test -j "$jobs"

# Who may include whom, and the format where clang-format 14 is there, are tests as well.
exec ctest --test-dir build/test --output-on-failure
