#!/bin/sh
# Training as several ranks under mpirun: mpi.sh ZVIT FOLDER [CASE...]. Every case gives the bytes of one
# process, or one line of error; what is refused or killed leaves a run that can be resumed.
# Exit code 77, a skipped test, without mpirun or with a zvit that was built without MPI.
set -eu
zvit=$1
folder=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
digits=$here/../tools/digits/digits.tar.gz
model=$here/models/digits-zeros.safetensors
skip() {
    echo "skipped: $1"
    exit 77
}
command -v mpirun >/dev/null || skip "no mpirun here"
"$zvit" info 2>/dev/null | grep -q MPI || skip "zvit was built without MPI"

rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"
failures=0
fail() {
    echo "FAILED: $1"
    failures=$((failures + 1))
}

# A few pictures of each digit; one of train cannot be read.
mkdir data
tar -tzf "$digits" | grep '\.png$' | LC_ALL=C sort | awk -F/ '++seen[$1 "/" $2] <= ($1 == "train" ? 26 : 5)' >list
tar -xzf "$digits" -C data -T list
printf 'no picture' >data/train/3/zz_broken.png

# As root and on few processors too, as continuous integration is; nothing else is set up. Open MPI says a
# word of its own when a rank ends with an error: only zvit's lines are looked at.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
launcher=""
trap '[ -z "$launcher" ] || kill -TERM "$launcher" 2>/dev/null || true' EXIT
ranks() {
    number=$1
    shift
    mpirun --oversubscribe -n "$number" "$zvit" "$@"
}
# start OUTPUT NUMBER WORD...: the same beside the script; $launcher is mpirun's process.
start() {
    output=$1
    number=$2
    shift 2
    mpirun --oversubscribe -n "$number" "$zvit" "$@" >"$output" 2>&1 &
    launcher=$!
}
everything="--model zeros_micro_patch4_28 --embed-dim 32 --depth 3 --num-heads 2 --batch-size 32 --steps 30 --seed 7
    --aa rand-m9-mstd0.5-inc1 --reprob 0.2 --mixup 0.8 --cutmix 1 --drop-path 0.2 --repeated-aug 2
    --grad-accum-steps 2 --clip-grad 1 --model-ema --no-report --quiet"
# What a run leaves that is to be the same bytes. The state has times in it beside these, so its tensors are
# seen by going on from it.
same() {
    for file in last.safetensors best.safetensors classes.txt; do
        cmp "$1/$file" "$2/$file" || fail "$3: $file"
    done
    cut -d, -f1-7,11 "$1/log.csv" >"$1.log"
    cut -d, -f1-7,11 "$2/log.csv" >"$2.log"
    cmp "$1.log" "$2.log" || fail "$3: log.csv"
}
alone() {
    [ -e alone ] || "$zvit" train data --out alone $everything >alone.out 2>&1 || fail "alone: $(cat alone.out)"
}
# Endless as far as a test is concerned: how far it came when a signal reached it is read from its checkpoint.
# The rate does not depend on where the end is, so the same steps can be taken by a run that ends there.
endless="$everything --sched constant --warmup-epochs 0 --save-every 1s"
steps_done() {
    head -c 400 "$1/last.state.safetensors" | tr -d '\\' | grep -ao '"step":[0-9]*' | head -n 1 | cut -d: -f2
}
# wait_for_steps RUN NUMBER: until a checkpoint has more.
wait_for_steps() {
    tries=0
    until [ -e "$1/last.state.safetensors" ] && [ "$(steps_done "$1")" -gt "$2" ]; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || return 1
        sleep 0.1
    done
}
# said WHAT CODE EXPECTED_CODE OUTPUT PATTERN: the code, and one line of error of zvit train's that matches.
said() {
    said_by train "$@"
}
said_by() {
    verb=$1
    shift
    [ "$2" = "$3" ] || fail "$1: exit code $2 (expected $3): $(cat "$4")"
    grep "^zvit $verb: " "$4" | grep -v "^zvit $verb: warning: " >errors || true
    [ "$(wc -l <errors)" = 1 ] || fail "$1: $(wc -l <errors) lines of error (expected 1): $(cat "$4")"
    grep -q -e "$5" errors || fail "$1: $(cat errors) (expected $5)"
}
seconds() { date +%s; }
# Process numbers of the ranks that $launcher started.
rank_pids() {
    sed 's/ *$//' "/proc/$launcher/task/$launcher/children"
}
# Whether one of these processes is still there, and not only its exit code.
are_left() {
    for pid in "$@"; do
        if [ -e "/proc/$pid/exe" ]; then
            return 0
        fi
    done
    return 1
}
wait_for_file() {
    tries=0
    while [ ! -e "$1" ] && [ $tries -lt 600 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    [ -e "$1" ]
}

case_identity() {
    alone
    for number in 2 4 8; do
        ranks $number train data --out "ranks$number" $everything >ranks$number.out 2>&1 ||
            fail "$number ranks: $(cat ranks$number.out)"
        same alone "ranks$number" "$number ranks"
    done
    OMP_NUM_THREADS=3 ranks 2 train data --out threads $everything >threads.out 2>&1 || fail "2 ranks of 3 threads"
    same alone threads "2 ranks of 3 threads"
    ranks 2 train data --out placed --steps 1 --model zeros_micro_patch4_28 --no-report >placed.out 2>&1 || fail "placement"
    [ "$(grep -c '^ranks: 2 on 1 machine' placed.out)" = 1 ] || fail "placement: $(cat placed.out)"
    [ "$(grep -c 'exchange .* hidden' placed.out)" = 1 ] || fail "no word of the exchange: $(cat placed.out)"
}

# Begun by 2 ranks and stopped by every signal that stops, gone on with by other numbers of ranks, bereft of one,
# and ended by one process: still the bytes of a run that nothing happened to.
case_stopped() {
    # Seconds between the signals that mpirun ends ranks with, in place of one: the machine may be busy.
    export OMPI_MCA_odls_base_sigkill_timeout=2
    number=2
    start stopped.out $number train data --out stopped $endless --steps 100000
    wait_for_steps stopped 0 || fail "no checkpoint"
    for signal in TERM INT USR1; do
        kill -$signal $launcher
        code=0
        wait $launcher || code=$?
        grep -q 'stopped in epoch' stopped.out || fail "SIG$signal: $(cat stopped.out)"
        [ $code != 0 ] || fail "SIG$signal: exit code 0"
        step=$(sed -n 's/.*stopped in epoch \([0-9]*\) after step \([0-9]*\) of \([0-9]*\).*/(\1 - 1) * \3 + \2/p' stopped.out)
        [ "$(steps_done stopped)" = "$(($step))" ] || fail "SIG$signal: stopped after $step and saved $(steps_done stopped)"
        number=$((6 - number))
        start stopped.out $number train --resume stopped --quiet --save-every 1s
        wait_for_steps stopped $(($step)) || fail "no checkpoint"
    done
    unset OMPI_MCA_odls_base_sigkill_timeout
    # A rank that is killed takes the others along, at once.
    began=$(seconds)
    pids=$(rank_pids)
    kill -9 ${pids##* }
    code=0
    wait $launcher || code=$?
    [ $code != 0 ] || fail "killed: exit code 0"
    [ $(($(seconds) - began)) -le 30 ] || fail "the others went on for $(($(seconds) - began)) s"
    ! are_left $pids || fail "a rank is left"
    steps=$(($(steps_done stopped) + 6))
    "$zvit" train --resume stopped --override --steps $steps --quiet >stopped.out 2>&1 || fail "resume: $(cat stopped.out)"
    OMP_NUM_THREADS=4 "$zvit" train data --out undisturbed $endless --steps $steps >undisturbed.out 2>&1 ||
        fail "alone: $(cat undisturbed.out)"
    same undisturbed stopped "stopped and resumed"
}

# A rank that stands still: the others notice.
case_hung() {
    start hung.out 2 train data --out hung $everything --steps 100000 --save-every 1s
    wait_for_file hung/last.state.safetensors || fail "no checkpoint"
    began=$(seconds)
    pids=$(rank_pids)
    kill -STOP ${pids##* }
    code=0
    wait $launcher || code=$?
    took=$(($(seconds) - began))
    said "a rank that stands still" $code 1 hung.out "has not been heard of"
    [ $took -le 30 ] || fail "a rank that stands still was noticed after $took s"
    ! are_left $pids || fail "a rank is left"
}

# What else learns, reads or measures in its own way.
case_features() {
    "$zvit" train data --out teacher $everything --steps 4 >teacher.out 2>&1 || fail "teacher: $(cat teacher.out)"
    "$zvit" pack data data.zpk >pack.out 2>&1 || fail "pack: $(cat pack.out)"
    features="$everything --steps 10 --distill teacher --init teacher --cache ram --model-ema-warmup --on-nan skip:3"
    "$zvit" train data.zpk --out features $features >features.out 2>&1 || fail "features: $(cat features.out)"
    ranks 2 train data.zpk --out features2 $features >features.out 2>&1 || fail "features, 2 ranks: $(cat features.out)"
    same features features2 "distill, init, cache, pack"
    # A measurement says the same to the last digit, of whatever number of ranks, but for its times.
    measured="teacher features data --split train --on-error skip --tta flip --json"
    "$zvit" eval $measured --out eval1 >eval1.json 2>eval1.out || fail "eval: $(cat eval1.out)"
    ranks 3 eval $measured --out eval3 >eval3.json 2>eval3.out || fail "eval, 3 ranks: $(cat eval3.out)"
    cmp eval1.out eval3.out || fail "eval: what is said"
    (cd eval1 && find . -type f) | sort >files
    [ "$(wc -l <files)" -ge 7 ] || fail "eval: $(cat files)"
    for file in $(cat files); do
        grep -v -e '"seconds"' -e '"images_per_second"' "eval1/$file" >one
        grep -v -e '"seconds"' -e '"images_per_second"' "eval3/$file" >other
        cmp one other || fail "eval: $file"
    done
    # No loss is finite after the first step: the same pictures are named, and the same steps left out.
    wild="--model zeros_micro_patch4_28 --embed-dim 32 --depth 2 --num-heads 2 --batch-size 32 --steps 5 --opt sgd --lr 3e37
        --warmup-epochs 0 --quiet --no-report --on-nan skip:3"
    code=0
    "$zvit" train data --out wild $wild 2>wild1.out || code=$?
    [ $code = 1 ] || fail "not finite: exit code $code"
    code=0
    ranks 2 train data --out wild $wild 2>wild2.out || code=$?
    grep '^zvit train: ' wild2.out >wild2.words || true
    cmp wild1.out wild2.words || fail "not finite: $(cat wild2.out)"
    said "not finite" $code 1 wild2.out "the loss is not a number, first at data/train"
}

# Two ranks that differ are refused, on both, within seconds.
case_refused() {
    few="--model zeros_micro_patch4_28 --batch-size 32 --steps 2 --quiet --no-report"
    code=0
    mpirun --oversubscribe -n 1 "$zvit" train data --out other $few --lr 1e-3 : \
        -n 1 "$zvit" train data --out other $few --lr 2e-3 >other.out 2>&1 || code=$?
    said "other options" $code 1 other.out '--lr: 0.002, but rank 0 has 0.001'
    cp -r data fewer
    rm "fewer/train/5/$(ls fewer/train/5 | head -n 1)"
    code=0
    mpirun --oversubscribe -n 1 "$zvit" train data --out other $few : \
        -n 1 "$zvit" train fewer --out other $few >other.out 2>&1 || code=$?
    said "other data" $code 1 other.out "rank 1: DATA: .* that are not rank 0's"
    mkdir build
    cp "$zvit" build/
    cp "$(dirname "$zvit")/libzvit_mpi.so" build/
    printf ' ' >>"build/$(basename "$zvit")"
    code=0
    mpirun --oversubscribe -n 1 "$zvit" train data --out other $few : \
        -n 1 "build/$(basename "$zvit")" train data --out other $few >other.out 2>&1 || code=$?
    said "another build" $code 1 other.out "rank 1: another build"
    [ ! -e other ] || fail "what was refused left a folder"
    code=0
    ranks 3 train data --out other $few >other.out 2>&1 || code=$?
    said "3 ranks" $code 1 other.out "3 ranks for 8 slots .*expected 1, 2, 4, ... up to 8"
    code=0
    ranks 2 train data --out other $few --batch-size auto >other.out 2>&1 || code=$?
    said "a batch by memory" $code 1 other.out "batch-size auto: chosen by one machine's memory"
    code=0
    ranks 2 train nowhere --out other $few >other.out 2>&1 || code=$?
    said "no data" $code 1 other.out "nowhere"
    code=0
    ranks 2 train data --out other --no-such-flag >other.out 2>&1 || code=$?
    said "a flag that is none" $code 2 other.out "no-such-flag"
    code=0
    mpirun --oversubscribe -n 1 "$zvit" eval "$model" data --split train : \
        -n 1 "$zvit" eval "$model" fewer --split train >other.out 2>&1 || code=$?
    said_by eval "eval of other data" $code 1 other.out "rank 1: DATA: .* that are not rank 0's"
    code=0
    ranks 2 eval nothing >other.out 2>&1 || code=$?
    said_by eval "eval of nothing" $code 2 other.out "1 argument "
    code=0
    ranks 2 info >other.out 2>&1 || code=$?
    [ $code = 2 ] && grep -q '^zvit info: started as 2 ranks' other.out || fail "info: code $code: $(cat other.out)"
}

for name in ${*:-identity stopped hung features refused}; do
    case_began=$(seconds)
    "case_$name"
    echo "$name: $(($(seconds) - case_began)) s"
done
[ $failures = 0 ]
