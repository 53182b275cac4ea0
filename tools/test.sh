#!/bin/sh
# Builds zvit with every warning an error and runs all the tests and checks. Installs what is
# missing. Exit code 0 only when everything passed.
set -eu
cd "$(dirname "$0")/.."
. tools/setup.sh
zvit_setup check

jobs=$(nproc 2>/dev/null || echo 1)
cmake -S . -B build/test -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER="${CC:-gcc}" \
    -DZVIT_TESTS=ON -DZVIT_WERROR=ON
cmake --build build/test -j "$jobs"

passed=0
failed=0
check() { # NAME COMMAND...
    name=$1
    shift
    echo "== $name"
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $name"
    fi
}

check_format() {
    git ls-files '*.c' '*.h' | xargs clang-format --dry-run --Werror
}

check "who may include whom" tools/check_includes.sh
# Versions of clang-format differ in their ideas; the style is that of 14.
if command -v clang-format >/dev/null 2>&1 && clang-format --version | grep -q 'version 14\.' &&
    git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    check "format" check_format
fi
check "tests" ctest --test-dir build/test --output-on-failure
echo "checks: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
