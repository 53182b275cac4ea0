#!/bin/sh
# zvit plan against trainings by 1, 2, 4, ... ranks over links of 1, 10 and 25 Gbit/s, all on this machine: every
# rank is in a network namespace of its own, as a machine would be, behind a link that tc (tbf) slows down.
#   tools/bench/cluster.sh [FLAGS] OUT DATA
# OUT receives a run folder for each training; a table goes to standard output. Needs root, ip, tc and mpirun;
# nothing of the machine's own network is touched. Run it with nothing else running.
set -eu

usage() {
    sed -n '2,6p' "$0" | cut -c3-
    cat <<'END'
flags:
  --zvit PATH       the command, built with MPI (build/release/zvit)
  --ranks "N ..."   powers of two ("1 2 4")
  --rates "N ..."   of a link, Gbit/s ("1 10 25")
  --steps N         of a training (40)
  --batch-size N    (64)
  --model NAME      (zeros_mini_patch8_64)
  --threads N       of a rank (1)
  --latency N       microseconds of a message, for the plan (100)
  --decode-ms X     of a core for a picture, for the plan (0: with --cache ram)
END
}

zvit=build/release/zvit ranks_list="1 2 4" rates="1 10 25" steps=40 batch=64 model=zeros_mini_patch8_64 threads=1
latency=100 decode=0
while [ $# -gt 0 ]; do
    case $1 in
    --help) usage; exit 0 ;;
    --zvit | --ranks | --rates | --steps | --batch-size | --model | --threads | --latency | --decode-ms)
        [ $# -gt 1 ] || { echo "cluster.sh: $1: needs a value" >&2; exit 2; }
        case $1 in
        --zvit) zvit=$2 ;; --ranks) ranks_list=$2 ;; --rates) rates=$2 ;; --steps) steps=$2 ;;
        --batch-size) batch=$2 ;; --model) model=$2 ;; --threads) threads=$2 ;; --latency) latency=$2 ;;
        --decode-ms) decode=$2 ;;
        esac
        shift ;;
    -?*) echo "cluster.sh: $1: no such flag (--help lists them)" >&2; exit 2 ;;
    *) break ;;
    esac
    shift
done
[ $# -eq 2 ] || { usage >&2; exit 2; }
out=$1 data=$(readlink -f "$2") zvit=$(readlink -f "$zvit")
for word in ip tc mpirun; do
    command -v "$word" >/dev/null || { echo "cluster.sh: no $word here" >&2; exit 77; }
done
[ "$(id -u)" = 0 ] || { echo "cluster.sh: network namespaces are for root" >&2; exit 77; }
[ ! -d "$data/train" ] || data=$data/train # nothing is measured after an epoch
mkdir -p "$out"
out=$(readlink -f "$out")

# ---- the machines: namespaces zvit-N, each with a link to a bridge in zvit-hub ----
made=""
take_down() {
    for space in $made; do ip netns del "$space" 2>/dev/null || true; done
    made=""
}
trap take_down EXIT INT TERM
add_space() {
    ip netns add "$1"
    made="$made $1"
    ip -n "$1" link set lo up
}
# Both directions, as a link has them: what leaves the machine, and what the bridge sends to it.
limit() {
    tc -n "$1" qdisc add dev "$2" root tbf rate "${3}gbit" burst "$(($3 * 40 + 128))kb" latency 20ms
}
set_up() { # COUNT RATE
    add_space zvit-hub
    ip -n zvit-hub link add bridge type bridge
    ip -n zvit-hub link set bridge up
    : >"$out/hosts"
    i=0
    while [ "$i" -lt "$1" ]; do
        add_space "zvit-$i"
        ip link add "zvl$i" netns "zvit-$i" type veth peer name "port$i" netns zvit-hub
        ip -n "zvit-$i" addr add "10.99.7.$((i + 1))/24" dev "zvl$i"
        ip -n "zvit-$i" link set "zvl$i" up
        ip -n zvit-hub link set "port$i" master bridge up
        limit "zvit-$i" "zvl$i" "$2"
        limit zvit-hub "port$i" "$2"
        echo "10.99.7.$((i + 1)) slots=1" >>"$out/hosts"
        i=$((i + 1))
    done
}

# mpirun starts its daemons with this in place of ssh: agent.sh ADDRESS COMMAND...
cat >"$out/agent.sh" <<'END'
#!/bin/sh
address=$1
shift
number=$((${address##*.} - 1))
exec ip netns exec "zvit-$number" unshare -u sh -c "hostname zvit-$number; $*"
END
chmod +x "$out/agent.sh"

# ---- trainings ----
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=$threads OMP_WAIT_POLICY=passive
flags="--model $model --batch-size $batch --steps $steps --cache ram --mixup 0 --cutmix 0 --no-report --val-split 0 --quiet --json --threads $threads"
train() { # RANKS RUN: prints the JSON of the result
    rm -rf "$2"
    # shellcheck disable=SC2086
    if [ "$1" = 1 ]; then
        "$zvit" train "$data" --out "$2" $flags
    else
        ip netns exec zvit-0 unshare -u sh -c 'hostname zvit-0; exec "$@"' sh \
            mpirun -n "$1" --leave-session-attached --hostfile "$out/hosts" --mca plm_rsh_agent "$out/agent.sh" --mca btl tcp,self \
            --mca btl_tcp_if_include 10.99.7.0/24 --mca oob_tcp_if_include 10.99.7.0/24 --bind-to none \
            -x OMP_NUM_THREADS -x OMP_WAIT_POLICY "$zvit" train "$data" --out "$2" $flags
    fi
}
# number FIELD: of the JSON on standard input
number() {
    sed -n "s/.*\"$1\":[[:space:]]*\([-0-9.e+]*\).*/\1/p"
}
processors=$(env -u OMP_NUM_THREADS nproc) # which listens to it
# The rate of a machine of $threads cores when `ranks` of them share this one's processors.
measured=""
rate_of() { # RANKS
    busy=$(($1 * threads < processors ? $1 * threads : processors))
    case $measured in
    *" $busy:"*) ;;
    *)
        gflops=$("$zvit" plan --measure --model "$model" --batch-size "$batch" --threads "$busy" --cores "$busy" \
            --classes "$classes" --images 1000000 --json >"$out/measured.json" && number gflops <"$out/measured.json")
        update=$(number update_seconds <"$out/measured.json")
        measured="$measured $busy:$gflops:$update"
        ;;
    esac
    echo "$measured" | tr ' ' '\n' | awk -F: -v busy="$busy" -v ranks="$1" '$1 == busy { print $2 / ranks }'
}
classes=$(find "$data" -mindepth 1 -maxdepth 1 -type d | wc -l)

printf '%5s %8s %12s %12s %8s %9s %9s\n' ranks Gbit/s predicted measured ratio hidden measured
for rate in $rates; do
    for ranks in $ranks_list; do
        [ "$ranks" = 1 ] || set_up "$ranks" "$rate"
        rate_of "$ranks" >"$out/gflops"
        "$zvit" plan --gflops "$(cat "$out/gflops")" --nodes "$ranks" --cores "$threads" --bandwidth "$rate" \
            --latency "$latency" --decode-ms "$decode" --model "$model" --batch-size "$batch" --mixup 0 --cutmix 0 \
            --classes "$classes" --images 1000000 --json >"$out/plan.json"
        train "$ranks" "$out/run" >"$out/result.json" 2>"$out/errors" || { cat "$out/errors" >&2; exit 1; }
        seconds=$(tail -n 1 "$out/run/log.csv" | cut -d, -f10)
        awk -v ranks="$ranks" -v rate="$rate" -v steps="$steps" -v seconds="$seconds" \
            -v plan="$(number step_seconds <"$out/plan.json")" -v hidden="$(number exchange_hidden <"$out/plan.json")" \
            -v measured="$(number exchange_hidden <"$out/result.json")" 'BEGIN {
                printf "%5d %8g %9.1f ms %9.1f ms %8.3f %7.0f %% ", ranks, rate, 1e3 * plan, 1e3 * seconds / steps,
                    plan / (seconds / steps), 100 * hidden
                if (ranks > 1) printf "%7.0f %%", 100 * measured
                print ""
            }'
        take_down
    done
done
