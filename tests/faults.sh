#!/bin/sh
# Machines that fail under the command: faults.sh ZVIT FOLDER full|read-only|removed|cut|clock [CLOCK_LIBRARY]
# Whatever happens, the exit code is 1, standard error ends in one line that says what failed, and every file under a
# final name is whole. Exit code 77: this machine does not let us mount (root, or a kernel that gives users a namespace).
set -u
zvit=$1 work=$2 part=$3
TMPDIR=${TMPDIR:-/tmp}
export OMP_NUM_THREADS=1

case $part in
full | read-only)
    # In a namespace of our own, where we may mount.
    if [ "${ZVIT_FAULTS_INSIDE:-}" != yes ]; then
        ZVIT_FAULTS_INSIDE=yes
        export ZVIT_FAULTS_INSIDE
        if unshare -m true 2>/dev/null; then
            exec unshare -m "$0" "$@"
        elif unshare -rm true 2>/dev/null; then
            exec unshare -rm "$0" "$@"
        fi
        echo "no namespace to mount in: skipped"
        exit 77
    fi
    ;;
esac

fail() {
    echo "FAILED: $*"
    [ -f "$work/err" ] && sed 's/^/    /' "$work/err"
    exit 1
}

# expect CODE TEXT WORDS...: zvit's exit code, and what its last line of standard error says.
expect() {
    code=$1 text=$2
    shift 2
    "$zvit" "$@" >"$work/out" 2>"$work/err"
    got=$?
    [ $got -eq "$code" ] || fail "zvit $1: exit code $got (expected $code)"
    case $(tail -n 1 "$work/err") in
    *"$text"*) ;;
    *) fail "zvit $1: the last line does not say: $text" ;;
    esac
}

whole() { # MODEL...: can be loaded
    for model in "$@"; do
        "$zvit" info "$model" >/dev/null 2>"$work/err" || fail "$model is damaged"
    done
}

no_temporaries() {
    left=$(find "$1" -name '.*.tmp-*')
    [ -z "$left" ] || fail "left behind: $left"
}

rm -rf "$work"
mkdir -p "$work" || exit 1
here=$(cd "$(dirname "$0")" && pwd)
data=$work/data
for split in train val; do
    for class in bright dull; do
        mkdir -p "$data/$split/$class"
        for picture in rgb.png gray.png baseline_420.jpg baseline_444.jpg gray.jpg rgba.png; do
            cp "$here/golden/formats/$picture" "$data/$split/$class/" || exit 1
        done
    done
done
tiny="--img-size 16 --patch-size 8 --embed-dim 16 --depth 1 --num-heads 2 -b 4 --threads 1"
fifty="--img-size 16 --patch-size 8 --embed-dim 192 --depth 2 --num-heads 2 -b 4 --threads 1" # megabytes of state
# begin RUN DATA WORDS...: an endless training beside the script, $trainer, once it has saved; and its end, which is an error.
begin() {
    run=$1 from=$2
    shift 2
    "$zvit" train "$from" --out "$run" --epochs 100000 $tiny "$@" >"$work/out" 2>"$work/err" &
    trainer=$!
    wait_until -f "$run/last.state.safetensors"
}
ends() { # PATTERN: of its last line
    wait $trainer
    got=$?
    [ $got -eq 1 ] || fail "the training's exit code is $got (expected 1)"
    case $(tail -n 1 "$work/err") in
    $1) ;;
    *) fail "the training's last line is not: $1" ;;
    esac
}
wait_until() { # TEST FILE: half a minute at most
    for i in $(seq 300); do
        [ "$1" "$2" ] && break
        sleep 0.1
    done
}
train() { "$zvit" train "$data" --out "$1" --epochs 2 $tiny >/dev/null 2>"$work/err" || fail "zvit train $1"; }

case $part in
full)
    disk=$work/disk
    mkdir -p "$disk"
    mount -t tmpfs -o size=2m none "$disk" 2>/dev/null || { echo "no tmpfs may be mounted: skipped"; exit 77; }
    # A run that does not fit: nothing of it stays half written, and what was there still is.
    expect 1 "No space left on device" train "$data" --out "$disk/large" --epochs 2 $fifty
    no_temporaries "$disk"
    for file in best.safetensors last.safetensors; do
        [ ! -f "$disk/large/$file" ] || whole "$disk/large/$file"
    done
    rm -rf "$disk/large"
    # A disk that fills up between two saves: the checkpoint before stays, and goes on once there is room.
    "$zvit" train "$data" --out "$disk/run" --epochs 1 $tiny >/dev/null 2>"$work/err" || fail "zvit train"
    dd if=/dev/zero of="$disk/filler" bs=4096 2>/dev/null
    cp "$disk/run/best.safetensors" "$work/before"
    expect 1 "No space left on device" train --resume "$disk/run" --epochs 3 --override
    whole "$disk/run/best.safetensors" "$disk/run/last.safetensors"
    cmp -s "$work/before" "$disk/run/best.safetensors" || fail "best.safetensors is another"
    no_temporaries "$disk"
    model=$disk/run/best.safetensors
    expect 1 "No space left on device" export "$model" --format safetensors --out "$disk/x"
    expect 1 "No space left on device" eval "$model" "$data" --out "$disk/e"
    expect 1 "No space left on device" eval "$model" "$data" --results-file "$disk/results.csv"
    expect 1 "No space left on device" pack "$data" "$disk/d.zpk"
    expect 1 "No space left on device" preview "$data" --out "$disk/sheet.png"
    expect 1 "No space left on device" report "$disk/run" --out "$disk/r.html"
    expect 1 "No space left on device" explain "$model" "$data/val/dull/gray.png" --out "$disk/x.png"
    no_temporaries "$disk"
    [ ! -s "$disk/results.csv" ] || fail "a part of a row in results.csv"
    rm "$disk/filler"
    expect 0 "" train --resume "$disk/run" --epochs 3 --override
    train_same=$work/same
    "$zvit" train "$data" --out "$train_same" --epochs 1 $tiny >/dev/null 2>&1
    expect 0 "" train --resume "$train_same" --epochs 3 --override
    cmp -s "$train_same/last.safetensors" "$disk/run/last.safetensors" || fail "resumed to other bits"
    umount "$disk"
    ;;
read-only)
    disk=$work/disk
    mkdir -p "$disk"
    mount -t tmpfs -o size=16m none "$disk" 2>/dev/null || { echo "no tmpfs may be mounted: skipped"; exit 77; }
    train "$disk/run"
    cp -r "$disk/run" "$work/before"
    mount -o remount,ro "$disk" 2>/dev/null || { echo "no tmpfs may be mounted read-only: skipped"; exit 77; }
    expect 1 "Read-only file system" train --resume "$disk/run" --epochs 3 --override
    expect 1 "Read-only file system" train "$data" --out "$disk/other" $tiny
    expect 1 "Read-only file system" report "$disk/run"
    expect 1 "Read-only file system" export "$disk/run" --format safetensors --out "$disk/x"
    expect 1 "Read-only file system" eval "$disk/run" "$data" --out "$disk/e"
    expect 0 "" eval "$disk/run" "$data"
    expect 0 "" classify "$disk/run" "$data/val/dull/gray.png"
    diff -r "$work/before" "$disk/run" >/dev/null || fail "the run has changed"
    umount "$disk"
    ;;
removed)
    # The RUN folder goes away while it is trained into: an error at the next save, and no folder made in its place.
    begin "$work/run" "$data"
    mv "$work/run" "$work/moved"
    ends 'zvit train: *No such file or directory*'
    [ ! -e "$work/run" ] || fail "the folder is there again"
    whole "$work/moved/last.safetensors"
    expect 0 "" train --resume "$work/moved" --epochs 1 --override
    ;;
cut)
    # What is read is cut short, or goes, while it is read: never a signal.
    train "$work/run"
    "$zvit" pack "$data" "$work/d.zpk" >/dev/null 2>"$work/err" || fail "zvit pack"
    begin "$work/packed" "$work/d.zpk" --on-error fail
    truncate -s 100 "$work/d.zpk"
    ends '*became shorter while it was read*'
    whole "$work/packed/last.safetensors"
    # Pictures; by default they are left out and counted, and an epoch without any is an error.
    begin "$work/pictures" "$data"
    find "$data" -type f | while read -r picture; do truncate -s 50 "$picture"; done
    ends 'zvit train: *'
    whole "$work/pictures/last.safetensors"
    # A server has its model in memory: the file may be cut, and go.
    cp "$here/golden/formats/gray.png" "$work/p.png"
    cp "$work/run/best.safetensors" "$work/m.safetensors"
    "$zvit" serve "$work/m.safetensors" --port 0 >"$work/url" 2>"$work/err" &
    server=$!
    wait_until -s "$work/url"
    truncate -s 10 "$work/m.safetensors"
    rm "$work/m.safetensors"
    if command -v curl >/dev/null; then
        curl -sf --data-binary @"$work/p.png" -H 'Content-Type: application/octet-stream' \
            "$(cat "$work/url")v1/classify" >"$work/answer" || fail "the server does not answer"
        grep -q '"probability"' "$work/answer" || fail "the server's answer: $(cat "$work/answer")"
    fi
    kill -0 $server 2>/dev/null || fail "the server is gone"
    kill -TERM $server
    wait $server || fail "the server ended with $?"
    ;;
clock)
    # The machine's clock runs backwards, an hour a second; file times lie in the future.
    find "$data" -exec touch -d '2099-01-01' {} +
    ZVIT_CLOCK=$4
    LD_PRELOAD=$ZVIT_CLOCK "$zvit" train "$data" --out "$work/run" --epochs 3 $tiny --log-json \
        >"$work/out" 2>"$work/err" || fail "zvit train under a clock that runs backwards"
    grep -q -- '"[a-z_]*seconds":-' "$work/err" && fail "negative seconds"
    awk -F, 'NR > 1 && ($10 < 0 || $10 > 600 || $8 <= 0) { exit 1 }' "$work/run/log.csv" || fail "seconds in log.csv"
    LD_PRELOAD=$ZVIT_CLOCK "$zvit" train --resume "$work/run" --epochs 4 --override >"$work/out" 2>"$work/err" ||
        fail "zvit train --resume"
    train "$work/straight"
    "$zvit" train --resume "$work/straight" --epochs 4 --override >/dev/null 2>"$work/err" || fail "zvit train --resume"
    LD_PRELOAD=$ZVIT_CLOCK "$zvit" eval "$work/run" "$data" --json >"$work/out" 2>"$work/err" || fail "zvit eval"
    grep -q '"seconds":-' "$work/out" && fail "zvit eval: negative seconds"
    touch -d '2099-01-01' "$work/run"/*
    LD_PRELOAD=$ZVIT_CLOCK "$zvit" report "$work/run" >"$work/out" 2>"$work/err" || fail "zvit report"
    ;;
*)
    echo "faults.sh ZVIT FOLDER full|read-only|removed|cut|clock [CLOCK_LIBRARY]"
    exit 2
    ;;
esac
rm -rf "$work"
