#!/bin/bash
# doc_programs.sh PAGE WORK INCLUDE LIBRARY_FOLDER CC [CXX]: the whole programs on a page, taken out, compiled and run as they stand
# there. A program is an indented block that begins with #include <zvit.h> (C++ when it includes <memory>) or with import ctypes.
set -eu
page=$1 work=$2 include=$3 libraries=$4 cc=$5 cxx=${6:-}
tests=$(cd "$(dirname "$0")" && pwd)
rm -rf "$work"
mkdir -p "$work"

awk -v work="$work" '
    /^    (#include <zvit.h>|import ctypes)/ { program = work "/" ++count ".txt" }
    /^[^ ]/ { program = "" }
    program { sub(/^    /, ""); print > program }' "$page"

model=$tests/models/digits-zeros.safetensors
picture=$tests/golden/china_420.jpg
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
ran=0
for program in "$work"/*.txt; do
    name=${program%.txt}
    if grep -q '^import ctypes' "$program"; then
        command -v python3 >/dev/null || continue
        run="python3 $program"
    elif grep -q '<memory>' "$program"; then
        [ -n "$cxx" ] || continue
        "$cxx" -x c++ -std=c++17 -pedantic -Wall -Wextra -Werror -I"$include" "$program" -o "$name" -L"$libraries" -lzvit
        run=$name
    else
        "$cc" -x c -std=c11 -pedantic -Wall -Wextra -Werror -I"$include" "$program" -o "$name" -L"$libraries" -lzvit
        run=$name
    fi
    $run "$model" "$picture" >"$name.out" || { cat "$name.out"; echo "$name: failed"; exit 1; }
    grep -q "^$picture: [0-9]" "$name.out" || { cat "$name.out"; echo "$name: names no class"; exit 1; }
    if $run missing "$picture" >/dev/null 2>"$name.err"; then echo "$name: a missing model is no failure"; exit 1; fi
    grep -q '^missing: ' "$name.err" || { cat "$name.err"; echo "$name: another message"; exit 1; }
    ran=$((ran + 1))
done
[ "$ran" -ge 1 ] || { echo "$page: no program found"; exit 1; }
echo "$ran programs"
