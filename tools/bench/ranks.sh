#!/bin/sh
# How fast one machine trains when its cores are shared out among ranks: ranks.sh ZVIT DATA CORES [ROUNDS]
# trains the same steps with 1 x CORES, 2 x CORES/2, 4 x CORES/4 and CORES x 1 ranks x threads, in turns, and
# compares what they leave byte by byte. MODEL, BATCH and STEPS in the environment choose another training.
# DATA without val: else each run measures too. Prints a table; exit code 1 when bytes differ.
set -eu
zvit=$1
data=$2
cores=$3
rounds=${4:-2}
model=${MODEL:-zeros_tiny_patch16_224}
batch=${BATCH:-64}
steps=${STEPS:-24}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

train() { # RANKS THREADS OUT
    set -- "$1" "$2" "$3" "$zvit" train "$data" --model "$model" --batch-size "$batch" --steps "$steps" \
        --mixup 0.8 --cutmix 1 --drop-path 0.1 --threads "$2" --no-report --json --out "$3"
    number=$1
    out=$3
    shift 3
    if [ "$number" = 1 ]; then
        "$@" >"$out.json" 2>"$out.log" || { cat "$out.log" >&2; exit 1; }
    else
        mpirun --oversubscribe -n "$number" "$@" >"$out.json" 2>"$out.log" || { cat "$out.log" >&2; exit 1; }
    fi
}

ways="1"
for number in 2 4 "$cores"; do
    case " $ways " in *" $number "*) ;; *) [ "$number" -le "$cores" ] && ways="$ways $number" ;; esac
done
status=0
printf '%-8s %-8s %-6s %12s %10s %10s\n' ranks threads round pictures/s of-1-rank hidden
round=1
while [ "$round" -le "$rounds" ]; do
    first=
    for number in $ways; do
        run=$folder/$number.$round
        train "$number" $((cores / number)) "$run"
        # The last row: mean over all steps.
        speed=$(tail -n 1 "$run/log.csv" | cut -d, -f8)
        first=${first:-$speed}
        hidden=$(sed -n 's/.*"exchange_hidden":[[:space:]]*\([0-9.e-]*\).*/\1/p' "$run.json")
        printf '%-8s %-8s %-6s %12.1f %10.3f %10s\n' "$number" $((cores / number)) "$round" "$speed" \
            "$(awk "BEGIN { print $speed / $first }")" "$(awk "BEGIN { print \"${hidden:-}\" == \"\" ? \"\" : sprintf(\"%.0f %%\", 100 * ${hidden:-0}) }")"
        cmp "$folder/1.1/last.safetensors" "$run/last.safetensors" || status=1
    done
    round=$((round + 1))
done
[ $status = 0 ] && echo "the same bytes from all of them: $(sha256sum "$folder/1.1/last.safetensors" | cut -c1-16)"
exit $status
