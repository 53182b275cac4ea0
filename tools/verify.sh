#!/bin/sh
# What is looked at beside tools/test.sh: another compiler, sanitizers, analysers. Exit code 0 only when no step failed.
#   tools/verify.sh [STEP...]     without one: all of them, in this order
#   clang      the other compiler, warnings are errors, the whole suite
#   asan       AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer, the whole suite
#   tsan       ThreadSanitizer with clang, libomp and Archer, the suites that use threads
#   valgrind   memcheck on a small run: train, resume, eval, classify, explain, export
#   tidy       clang-tidy with the checks of .clang-tidy
#   cppcheck   cppcheck with the exceptions of tools/cppcheck.txt
#   coverage   the lines of vit/ and of data/ that the whole suite runs: at least 90 % of each
#   fuzz       each fuzz target for a fixed, short count (tools/fuzz.sh)
# Each step installs what it needs, writes build/verify/STEP.log, and prints one line with its seconds. What a machine
# cannot do at all, such as ThreadSanitizer in a container that fixes the layout of addresses, is found out by a small
# program that has the fault looked for; the step is then skipped, and says why. JOBS sets how much runs at once.
set -eu
cd "$(dirname "$0")/.."
. tools/setup.sh
steps="clang asan tsan valgrind tidy cppcheck coverage fuzz"
jobs=${JOBS:-$(nproc 2>/dev/null || echo 1)}
logs=$PWD/build/verify
mkdir -p "$logs"
packages="check libmicrohttpd-dev libcairo2-dev libprotobuf-c-dev protobuf-c-compiler"

# What the step's line says beside "passed"; and the end of a step that cannot be.
say() { echo "$*" >"$logs/$step.says"; }
skip() {
    say "$*"
    exit 77
}

# clang with OpenMP, and what its sanitizers and libFuzzer are linked with: a package of its own for each version, where
# that is not part of another.
setup_clang() {
    zvit_setup $packages clang libomp-dev "$@"
    runtimes=libclang-rt-$(clang -dumpversion | sed 's/\..*//')-dev
    if apt-cache show "$runtimes" >/dev/null 2>&1; then zvit_setup "$runtimes"; fi
}

build() { # build PRESET [TARGET...]
    preset=$1
    shift
    cmake --preset "$preset"
    cmake --build --preset "$preset" -j "$jobs" ${1:+--target "$@"}
}

# suite PRESET [ARGUMENT...]: its tests, and their number for the line.
suite() {
    preset=$1
    shift
    $without_random ctest --preset "$preset" -j "$jobs" "$@" >"$logs/$step.tests" 2>&1 || {
        cat "$logs/$step.tests"
        return 1
    }
    cat "$logs/$step.tests"
    say "$(sed -n 's/.* tests failed out of \([0-9]*\)$/\1 tests/p' "$logs/$step.tests")$(
        awk '/\*\*\*Skipped/ { n++ } END { if (n) printf ", %d of them skipped", n }' "$logs/$step.tests")"
}

# works COMPILER FLAGS GOOD BAD: a probe. The program with -DFAULT must be found guilty, without it it must run, ten times:
# some sanitizers start or not as the addresses fall. Sets without_random to what must stand before a command for that.
without_random=
works() {
    probe=$logs/probe_$step
    printf '%s\n' "$3" >"$probe.c"
    "$1" $2 -g "$probe.c" -o "$probe" || return 1
    "$1" $2 -g -DFAULT "$probe.c" -o "$probe.bad" || return 1
    for without_random in "" "setarch $(uname -m) -R"; do
        good=0
        while [ $good -lt 10 ] && $without_random "$probe"; do good=$((good + 1)); done
        if [ $good -eq 10 ] && ! $without_random "$probe.bad"; then return 0; fi
    done
    without_random=
    return 1
}

step_clang() {
    setup_clang
    build clang
    suite clang
}

step_asan() {
    zvit_setup $packages
    memory='#include <stdlib.h>
#ifndef FAULT
#define FAULT_AT 7
#else
#define FAULT_AT 8
#endif
int main(int argc, char **argv) { char *p = malloc(8); p[FAULT_AT + argc - 1] = argv[0][0]; int c = p[7]; free(p); return c == 999; }'
    leak='#include <stdlib.h>
int main(void) {
#ifdef FAULT
    void *volatile p = malloc(8); p = NULL; return p != NULL;
#endif
    return 0; }'
    works gcc -fsanitize=address,undefined "$memory" || skip "a program with AddressSanitizer does not start here"
    leaks=
    if ! works gcc -fsanitize=address "$leak"; then
        leaks=", leaks not looked for: LeakSanitizer cannot stop a program here"
        export ASAN_OPTIONS=detect_leaks=0
    fi
    build asan
    suite asan
    say "$(cat "$logs/$step.says")$leaks"
}

step_tsan() {
    setup_clang util-linux
    race='#include <stdio.h>
int main(void) { long sum = 0, all[4] = {0};
#pragma omp parallel num_threads(4)
{
#pragma omp for
for (int i = 0; i < 4; i++) all[i] = i;
#ifndef FAULT
#pragma omp atomic
#endif
sum += all[0] + all[1] + all[2] + all[3];
}
return sum < 0; }'
    export TSAN_OPTIONS=ignore_noninstrumented_modules=1
    works clang "-O1 -fsanitize=thread -fopenmp" "$race" ||
        skip "a program with ThreadSanitizer, libomp and Archer does not start here, or does not see a race"
    unset TSAN_OPTIONS
    build tsan suites_with_threads
    suite tsan
}

step_valgrind() {
    zvit_setup $packages valgrind
    build valgrind zvit
    tests/valgrind.sh build/valgrind/zvit build/valgrind/run
    say "$(cat build/valgrind/run/says)"
}

# The list of files is that of the clang preset: clang-tidy understands clang's flags.
sources() { find vit data eval train api tools -name '*.c' | LC_ALL=C sort; }

step_tidy() {
    setup_clang clang-tidy
    cmake --preset clang
    [ ! -f build/clang/messages/onnx.pb-c.h ] && ninja -C build/clang messages/onnx.pb-c.h
    found=0
    sources | xargs -P "$jobs" -n 6 clang-tidy -p build/clang --quiet --warnings-as-errors='*' >"$logs/tidy.found" 2>&1 || found=$?
    grep -v '^[0-9]* warnings\? generated\.$' "$logs/tidy.found" || true
    [ $found -eq 0 ]
    say "$(sources | wc -l) files, $(clang-tidy -p build/clang --list-checks | grep -c '^    ') checks"
}

step_cppcheck() {
    zvit_setup cppcheck
    mkdir -p build/cppcheck
    cppcheck --std=c11 --enable=warning,performance,portability --inline-suppr -D_GNU_SOURCE -D__linux__ -D__x86_64__ \
        --suppressions-list=tools/cppcheck.txt --cppcheck-build-dir=build/cppcheck -j "$jobs" -I . --error-exitcode=1 --quiet \
        vit data eval train api tools
    say "$(sources | wc -l) files, $(grep -vc '^#\|^$' tools/cppcheck.txt) exceptions"
}

step_coverage() {
    zvit_setup $packages gcovr
    build coverage
    find build/coverage -name '*.gcda' -delete
    suite coverage
    tests=$(cat "$logs/$step.says")
    gcovr -j "$jobs" --root . --filter 'vit/' --filter 'data/' --exclude '.*pb-c' --json "$logs/coverage.json" build/coverage
    figures=
    enough=yes
    for folder in vit data; do
        gcovr --root . -a "$logs/coverage.json" --filter "$folder/" --fail-under-line 90 >"$logs/coverage_$folder.txt" || enough=no
        cat "$logs/coverage_$folder.txt"
        figures="$figures$folder/ $(awk '/^TOTAL/ { print $4 }' "$logs/coverage_$folder.txt") of lines, "
    done
    say "$figures$tests"
    [ $enough = yes ]
}

step_fuzz() {
    setup_clang
    tools/fuzz.sh
    say "$(awk '/ executions / { targets++; sum += $2 } END { printf "%d targets, %d inputs", targets, sum }' "$logs/fuzz.log")"
}

# ---- one step, or those named ----
if [ "${1:-}" = --step ]; then
    step=$2
    "step_$step"
    exit
fi
for step in "$@"; do
    case " $steps " in
    *" $step "*) ;;
    *)
        echo "tools/verify.sh: step '$step' (expected some of: $steps)" >&2
        exit 2
        ;;
    esac
done
[ $# -gt 0 ] || set -- $steps
passed=0 skipped=0 failed=0
for step in "$@"; do
    begun=$(date +%s)
    rm -f "$logs/$step.says"
    code=0
    tools/verify.sh --step "$step" >"$logs/$step.log" 2>&1 </dev/null || code=$?
    case $code in
    0)
        result=passed
        passed=$((passed + 1))
        ;;
    77)
        result=skipped
        skipped=$((skipped + 1))
        ;;
    *)
        result=FAILED
        failed=$((failed + 1))
        tail -n 150 "$logs/$step.log"
        ;;
    esac
    says=$(cat "$logs/$step.says" 2>/dev/null || true)
    printf '%-9s %s%s  (%d s)\n' "$step" "$result" "${says:+: $says}" $(($(date +%s) - begun))
done
echo "verify.sh: $passed passed, $skipped skipped, $failed failed"
[ $failed -eq 0 ]
