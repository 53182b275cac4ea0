#!/bin/sh
# Kills a training run with SIGKILL again and again at random moments, resumes it each time, and
# compares what it leaves in the end with a run that nothing disturbed: last.safetensors and
# best.safetensors byte for byte, log.csv but for the times.
#   tools/soak_kill.sh [ZVIT] [KILLS]      (default: build/zvit, 100)
# A run that comes to its end is compared, and a new one begun, until there were enough kills.
# Prints a line for each run compared and a summary; exit code 1 when something differs.
set -eu

zvit=${1:-build/zvit}
kills=${2:-100}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -xzf "$here/digits/digits.tar.gz" -C "$work"
data=$(dirname "$(find "$work" -type d -name train | head -n 1)")

# Both replace the shell that runs them, so that the signal meets the trainer.
begin() { # RUN: everything that is random switched on, a checkpoint every third step
    exec "$zvit" train "$data" --out "$1" --model zeros_micro_patch4_28 --embed-dim 16 --depth 2 \
        --num-heads 2 --steps 200 --warmup-epochs 0.1 --batch-size 64 --drop-path 0.1 \
        --mixup 0.8 --cutmix 1 --repeated-aug 2 --model-ema --model-ema-decay 0.9 \
        --save-every 3s --quiet
}

resume() {
    exec "$zvit" train --resume "$1" --quiet
}

# 0.02 to 2 seconds, short ones more often: most of what can go wrong is at the start and in saving.
random_seconds() {
    awk -v seed="$1" 'BEGIN { srand(seed); r = rand(); printf "%.3f\n", 0.02 + 1.98 * r * r }'
}

compare() {
    for file in last.safetensors best.safetensors classes.txt args.json; do
        cmp "$work/whole/$file" "$1/$file" || return 1
    done
    cut -d, -f1-7 "$work/whole/log.csv" >"$work/a"
    cut -d, -f1-7 "$1/log.csv" >"$work/b"
    cmp "$work/a" "$work/b" || return 1
    [ "$(find "$work/whole" | wc -l)" = "$(find "$1" | wc -l)" ]
}

(begin "$work/whole") >/dev/null
done_kills=0
runs=0
early=0
tries=0
run="$work/run0"
while :; do
    tries=$((tries + 1))
    if [ -e "$run/args.json" ]; then
        resume "$run" >"$work/out" 2>&1 &
    else
        begin "$run" >"$work/out" 2>&1 &
    fi
    process=$!
    if [ "$done_kills" -lt "$kills" ]; then
        sleep "$(random_seconds "$tries")"
        kill -9 "$process" 2>/dev/null || true
    fi
    code=0
    wait "$process" 2>/dev/null || code=$?
    if [ "$code" = 137 ]; then
        done_kills=$((done_kills + 1))
        [ -e "$run/last.state.safetensors" ] || early=$((early + 1))
        continue
    fi
    if [ "$code" != 0 ]; then
        echo "FAILED: exit code $code after $done_kills kills:"
        cat "$work/out"
        exit 1
    fi
    runs=$((runs + 1))
    if ! compare "$run"; then
        echo "FAILED: run $runs differs from the undisturbed one, after $done_kills kills"
        exit 1
    fi
    echo "run $runs: the same as the undisturbed one; $done_kills kills so far"
    [ "$done_kills" -lt "$kills" ] || break
    run="$work/run$runs"
done
echo "$done_kills kills ($early before the first checkpoint), $runs runs, all the same to the byte"
