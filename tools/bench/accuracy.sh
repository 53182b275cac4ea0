#!/bin/sh
# Trains the four attentions on digits and sprites with several seeds and prints a table of what
# they reach, the image comparison of the ZeroS paper in small.
#   tools/bench/accuracy.sh [FLAGS] OUT DIGITS SPRITES
# OUT receives a run folder for each training. One that is complete is not trained again and one
# that was cut off goes on, so the script may be stopped and called again. DIGITS, SPRITES: data
# folders, or - to leave that half out. Needs nothing but zvit, a shell and awk.
set -eu

usage() {
    sed -n '2,4p' "$0" | cut -c3-
    cat <<'END'
flags:
  --zvit PATH         the command (build/zvit)
  --seeds "N ..."     one run each ("1 2")
  --epochs-digits N   (10)
  --epochs-sprites N  (60)
  --attn "NAME ..."   ("zeros zeros_sm vit linear", the beginnings of the models' names)
  --jobs N            runs side by side (1)
  --threads N         of each (all processors)
  --table-only        prints what is there
END
}

zvit=build/zvit seeds="1 2" epochs_digits=10 epochs_sprites=60 attn="zeros zeros_sm vit linear"
jobs=1 threads=0 table_only=
while [ $# -gt 0 ]; do
    case $1 in
    --table-only) table_only=1 ;;
    --help) usage; exit 0 ;;
    --zvit | --seeds | --epochs-digits | --epochs-sprites | --attn | --jobs | --threads)
        [ $# -gt 1 ] || { echo "accuracy.sh: $1: needs a value" >&2; exit 2; }
        case $1 in
        --zvit) zvit=$2 ;; --seeds) seeds=$2 ;; --attn) attn=$2 ;;
        --epochs-digits) epochs_digits=$2 ;; --epochs-sprites) epochs_sprites=$2 ;;
        --jobs) jobs=$2 ;; --threads) threads=$2 ;;
        esac
        shift ;;
    -?*) echo "accuracy.sh: $1: no such flag (--help lists them)" >&2; exit 2 ;;
    *) break ;;
    esac
    shift
done
[ $# -eq 3 ] || { usage >&2; exit 2; }
out=$1 digits=$2 sprites=$3
mkdir -p "$out"

epochs_of() { case $1 in digits) echo "$epochs_digits" ;; *) echo "$epochs_sprites" ;; esac; }
data_of() { case $1 in digits) echo "$digits" ;; *) echo "$sprites" ;; esac; }
model_of() { case $1 in digits) echo "$2_micro_patch4_28" ;; *) echo "$2_mini_patch8_64" ;; esac; }

# Every run as a line: SET ATTENTION SEED.
runs() {
    for set in sprites digits; do
        [ "$(data_of $set)" != - ] || continue
        for seed in $seeds; do
            for a in $attn; do echo "$set $a $seed"; done
        done
    done
}

finished_epochs() { # RUN
    if [ -f "$1/log.csv" ]; then tail -n 1 "$1/log.csv" | awk -F, '{ print $1 + 0 }'; else echo 0; fi
}

# What differs between the two: digits fill their pictures and have a right side up.
train() { # SET ATTENTION SEED
    run=$out/$1-$2-$3 epochs=$(epochs_of "$1")
    if [ "$(finished_epochs "$run")" -ge "$epochs" ]; then return 0; fi
    if [ -f "$run/last.state.safetensors" ]; then
        "$zvit" train --resume "$run" --threads "$threads" --quiet >/dev/null
        return
    fi
    rm -rf "$run"
    if [ "$1" = digits ]; then
        set -- "$1" "$2" "$3" --lr 3e-3 --crop-pct 1 --scale 0.8 1 --hflip 0 --color-jitter 0
    else
        set -- "$1" "$2" "$3" --recipe small-data
    fi
    data=$(data_of "$1") model=$(model_of "$1" "$2") seed=$3
    shift 3
    "$zvit" train "$data" --model "$model" --out "$run" --epochs "$epochs" --seed "$seed" \
        --threads "$threads" --quiet "$@" >/dev/null
}

# Each worker goes through all runs and trains those that no other has taken; making a folder
# succeeds for one of them only.
worker() {
    failed=0
    while read -r set a seed; do
        mkdir "$out/.taken/$set-$a-$seed" 2>/dev/null || continue
        echo "$set $a seed $seed" >&2
        if ! train "$set" "$a" "$seed"; then
            echo "accuracy.sh: $set $a seed $seed: training failed" >&2
            failed=1
        fi
    done <"$out/.runs"
    return $failed
}

# Last and best top-1, the median of the epochs' speeds and the parameters of one run.
figures() { # RUN MODEL
    speed=$(awk -F, 'NR > 1 { print $8 }' "$1/log.csv" | sort -n |
        awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }')
    count=$("$zvit" info "$1" --json | awk '/"parameters"/ { gsub(/[^0-9]/, ""); print; exit }')
    awk -F, -v speed="$speed" -v count="$count" 'NR > 1 { last = $6; if ($6 > best) best = $6 }
        END { print last, best, speed, count }' "$1/log.csv"
}

row() { # SET ATTENTION
    model=$(model_of "$1" "$2")
    for seed in $seeds; do
        run=$out/$1-$2-$seed
        [ "$(finished_epochs "$run")" -ge "$(epochs_of "$1")" ] || continue
        figures "$run"
    done | awk -v set="$1" -v model="$model" '
        { last += $1; best += $2; speed += $3; count = $4; each = each sep sprintf("%.1f", $1); sep = ", " }
        END { if (NR) printf "| %s | `%s` | %.1f | %s | %.1f | %d | %.0f |\n", set, model, last / NR, each, best / NR, count, speed / NR }'
}

if [ -z "$table_only" ]; then
    rm -rf "$out/.taken"
    mkdir "$out/.taken"
    runs >"$out/.runs"
    pids=
    for _ in $(seq "$jobs"); do
        worker &
        pids="$pids $!"
    done
    status=0
    for pid in $pids; do wait "$pid" || status=1; done
    [ $status -eq 0 ] || exit 1
fi

echo "| data | model | top-1, last epoch | each seed | top-1, best epoch | parameters | images/s |"
echo "|---|---|---|---|---|---|---|"
for set in digits sprites; do
    [ "$(data_of $set)" = - ] || for a in $attn; do row $set "$a"; done
done
