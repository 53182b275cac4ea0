#!/bin/sh
# Fuzzes what reads bytes from outside: each target of tests/fuzz with libFuzzer, AddressSanitizer and
# UndefinedBehaviorSanitizer, a fixed number of inputs or seconds, on all processors.
#
#   tools/fuzz.sh [--runs N | --seconds S] [--jobs J] [--binaries FOLDER] [--out FOLDER] [TARGET...]
#   tools/fuzz.sh --coverage [--out FOLDER] [TARGET...]
#
#   --runs N           inputs for each target (default 40000, which CI runs)
#   --seconds S        seconds for each target; with --runs whichever comes first
#   --jobs J           processes for each target (default: one for each processor)
#   --binaries FOLDER  use the programs in it instead of building the preset
#   --out FOLDER       corpora and logs (default build/fuzz/run); a corpus that is there is gone on with
#   --coverage         no fuzzing: which share of the lines of the readers seeds, findings and corpora run (llvm-cov)
#
# Exit code 1 when there was a finding: it is then in tests/fuzz/regressions/TARGET, where the tests of every build run
# it, and its log in the out folder.
set -eu
cd "$(dirname "$0")/.."

usage() {
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
coverage= runs= seconds= jobs=$(nproc 2>/dev/null || echo 1) binaries= out=build/fuzz/run targets=
while [ $# -gt 0 ]; do
    case $1 in
    --runs) runs=${2:?} && shift ;;
    --seconds) seconds=${2:?} && shift ;;
    --coverage) coverage=1 ;;
    --jobs) jobs=${2:?} && shift ;;
    --binaries) binaries=${2:?} && shift ;;
    --out) out=${2:?} && shift ;;
    -*) usage ;;
    *) targets="$targets $1" ;;
    esac
    shift
done
[ -n "$runs$seconds" ] || runs=40000
all=$(sed -n 's/^foreach(name \(.*\))$/\1/p' tests/fuzz/CMakeLists.txt | head -n 1)
[ -n "$targets" ] || targets=$all

# What each target is about.
readers() {
    case $1 in
    image) echo data/image.c data/decode_jpeg.c data/decode_png.c data/exif.c ;;
    safetensors) echo vit/safetensors.c vit/json.c ;;
    model) echo vit/model_file.c vit/config_json.c ;;
    state) echo train/state.c ;;
    json) echo vit/json.c train/settings.c vit/options.c ;;
    options) echo vit/options_parse.c vit/options.c vit/number.c ;;
    list) echo data/csv.c data/classes.c train/class_weights.c eval/run_log.c ;;
    pack) echo data/pack.c data/checksum.c ;;
    request) echo tools/serve/request.c tools/serve/guard.c tools/serve/settings.c tools/serve/api.c ;;
    esac
}

if [ -n "$coverage" ]; then
    build=build/fuzz-coverage
    cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER=clang \
        -DCMAKE_C_FLAGS="-O1 -fprofile-instr-generate -fcoverage-mapping -DVIT_NO_CLONES" >/dev/null
    # shellcheck disable=SC2046
    cmake --build $build --target $(printf 'fuzz_%s ' $targets)
    for target in $targets; do
        set -- "tests/fuzz/seeds/$target"
        for inputs in "tests/fuzz/regressions/$target" "$out/corpus/$target"; do
            [ ! -d "$inputs" ] || set -- "$@" "$inputs"
        done
        program=$build/tests/fuzz/fuzz_$target
        [ "$target" != image ] || set -- "$@" tests/golden/formats
        LLVM_PROFILE_FILE=$build/$target.profraw "$program" "$@" >/dev/null
        llvm-profdata merge -o $build/$target.profdata $build/$target.profraw
        llvm-cov report -instr-profile=$build/$target.profdata "$program" |
            awk -v target="$target" -v wanted=" $(readers "$target") " 'index(wanted, " " $1 " ") { printf "%-12s %-28s %8s of %4d lines\n", target, $1, $10, $8 }'
    done
    exit 0
fi

if [ -z "$binaries" ]; then
    cmake --preset fuzz >/dev/null
    # shellcheck disable=SC2046
    cmake --build --preset fuzz --target $(printf 'fuzz_%s ' $targets)
    binaries=build/fuzz/tests/fuzz
fi

# What is freed is held back for a while, so that its use is seen: 8 MB is more than an input takes, and the default of
# 256 MB halves the speed.
export ASAN_OPTIONS="quarantine_size_mb=8:detect_leaks=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export UBSAN_OPTIONS="print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"
export OMP_NUM_THREADS=1
# clang 14's AddressSanitizer does not start at every address that newer kernels choose.
fixed=$(setarch -R true 2>/dev/null && echo setarch -R) || fixed=

# The longest input, in bytes. Twice a small file of the kind: short inputs run several times as fast as long ones, and
# a change in them hits what matters more often.
longest() {
    case $1 in
    image | pack) echo 2048 ;;
    safetensors | json | list | options | request) echo 4096 ;;
    model) echo 8192 ;;
    state) echo 40000 ;;
    esac
}

# The sum over the logs of a target of a number in libFuzzer's last lines.
total() {
    sed -n "s/^stat::$1: *//p" "$out/$2".*.log | awk '{ sum += $1 } END { print sum + 0 }'
}

fuzz() {
    name=$1
    mkdir -p "$out/corpus/$name" "$out/findings/$name"
    rm -f "$out/$name".*.log
    set -- -print_final_stats=1 -max_len="$(longest "$name")" -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=256 \
        -reload=60 -artifact_prefix="$out/findings/$name/"
    [ -z "$runs" ] || set -- "$@" -runs=$(((runs + jobs - 1) / jobs))
    [ -z "$seconds" ] || set -- "$@" -max_total_time="$seconds"
    [ ! -f "tests/fuzz/$name.dict" ] || set -- "$@" -dict="tests/fuzz/$name.dict"
    set -- "$@" "$out/corpus/$name" "tests/fuzz/seeds/$name"
    [ ! -d "tests/fuzz/regressions/$name" ] || set -- "$@" "tests/fuzz/regressions/$name"
    began=$(date +%s%N) job=0 pids=
    while [ $job -lt "$jobs" ]; do
        job=$((job + 1))
        $fixed "$binaries/fuzz_$name" -seed="$job" "$@" >"$out/$name.$job.log" 2>&1 &
        pids="$pids $!"
    done
    failed=0
    for pid in $pids; do
        wait "$pid" || failed=$((failed + 1))
    done
    ended=$(date +%s%N)
    executed=$(total number_of_executed_units "$name")
    edges=$(grep -ho ' cov: [0-9]*' "$out/$name".*.log | awk '$2 > most { most = $2 } END { print most + 0 }')
    printf '%-12s %11d executions %9d a second %6d edges %6d inputs kept  %s\n' "$name" "$executed" \
        $((executed * 1000000 / ((ended - began) / 1000 + 1))) "$edges" "$(find "$out/corpus/$name" -type f | wc -l)" \
        "$([ $failed = 0 ] && echo 'no finding' || echo "FAILED in $failed of $jobs processes")"
    return $((failed > 0))
}

# Findings to where the tests run them.
keep() {
    find "$out/findings/$1" -type f | while read -r file; do
        case $(basename "$file") in
        slow-unit-*) continue ;; # slow, but not too slow
        esac
        mkdir -p "tests/fuzz/regressions/$1"
        cp "$file" "tests/fuzz/regressions/$1/"
        echo "$1: finding tests/fuzz/regressions/$1/$(basename "$file")"
    done
    echo "$1: logs $out/$1.*.log"
    grep -h -A 3 -m 1 -E '^SUMMARY|ERROR: |does not hold' "$out/$1".*.log | head -n 8
}

code=0
for target in $targets; do
    [ -x "$binaries/fuzz_$target" ] || {
        echo "fuzz.sh: no target $target (expected one of: $all)" >&2
        exit 2
    }
    fuzz "$target" || {
        keep "$target"
        code=1
    }
done
exit $code
