#!/bin/sh
# How zvit serve bears up: many connections that post a picture over and over, on this machine alone.
#   tools/bench/serve_load.sh MODEL PICTURE [SECONDS [CONNECTIONS]]
# ZVIT names the program (default build/release/zvit), ZVIT_SERVE_FLAGS further flags of zvit serve, QUERY the query
# (topk=5; explain=1 for heat maps). Prints wrk's figures, the batches, memory and descriptors before and after.
# Exit code 1 when there was an error, an answer other than 200, or a descriptor that stayed open.
set -eu
if [ $# -lt 2 ]; then
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
model=$1 picture=$2 seconds=${3:-60} connections=${4:-64}
zvit=${ZVIT:-$(dirname "$0")/../../build/release/zvit}
for tool in wrk curl; do
    command -v $tool >/dev/null || { echo "serve_load.sh needs $tool (Debian package: $tool)" >&2; exit 1; }
done

work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

cat >"$work/post.lua" <<'LUA'
local file = assert(io.open(os.getenv("PICTURE"), "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "application/octet-stream"
file:close()
LUA

# shellcheck disable=SC2086
"$zvit" serve "$model" --port 0 ${ZVIT_SERVE_FLAGS:-} >"$work/url" &
server=$!
for _ in $(seq 300); do
    [ -s "$work/url" ] && break
    kill -0 $server 2>/dev/null || exit 1
    sleep 0.1
done
url=$(cat "$work/url")

# value NAME: of a metric
value() {
    curl -sf "${url}metrics" | awk -v name="$1" '$1 == name { printf "%.0f", $2 }'
}
load() {
    PICTURE=$picture wrk -t2 -c"$connections" -d"$1s" --timeout 10s --latency -s "$work/post.lua" \
        "${url}v1/classify?${QUERY:-topk=5}"
}

load 3 >/dev/null # memory that is kept for use again is taken now
before=$(value process_resident_memory_bytes) files=$(value process_open_fds)
load "$seconds" | tee "$work/wrk"
sleep 1
after=$(value process_resident_memory_bytes) left=$(value process_open_fds)
pictures=$(value zvit_batch_pictures_sum) batches=$(value zvit_batch_pictures_count)
echo "  batches      $batches, $(awk -v p="$pictures" -v b="$batches" 'BEGIN { printf "%.1f", p / b }') pictures each"
echo "  memory       $((before >> 20)) MiB before, $((after >> 20)) MiB after"
echo "  descriptors  $files before, $left after"

kill $server
wait $server || { echo "the server ended with $?" >&2; exit 1; }
server=
if grep -E 'Socket errors|Non-2xx' "$work/wrk" || [ "$left" -gt "$files" ]; then
    exit 1
fi
