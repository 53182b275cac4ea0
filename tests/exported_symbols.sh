#!/bin/sh
# exported_symbols.sh HEADER LIBRARY NM: the functions that HEADER marks with VIT_API are what LIBRARY exports, and nothing
# else. Prints the differences; exit code 1 when there is one.
set -eu
header=$1 library=$2 nm=${3:-nm}

# Without comments and preprocessor lines, a declaration a line: the name before the first '(' behind VIT_API.
marked=$(awk '
    { line = $0; sub(/\/\/.*/, "", line); text = text " " (line ~ /^ *#/ ? "" : line) }
    END {
        while ((at = index(text, "/*")) > 0) {
            rest = substr(text, at + 2)
            text = substr(text, 1, at - 1) substr(rest, index(rest, "*/") + 2)
        }
        count = split(text, declarations, ";")
        for (i = 1; i <= count; i++)
            if (match(declarations[i], /VIT_API [^(]*\(/)) {
                name = substr(declarations[i], RSTART, RLENGTH - 1)
                sub(/.*[ *]/, "", name)
                print name
            }
    }' "$header" | LC_ALL=C sort)
exported=$("$nm" -D --defined-only "$library" | awk '{ sub(/@.*/, "", $3); print $3 }' | LC_ALL=C sort)

[ "$(printf '%s\n' "$marked" | wc -l)" -gt 20 ] || { echo "$header: hardly a function found"; exit 1; }
if [ "$marked" != "$exported" ]; then
    list=$(mktemp)
    printf '%s\n' "$marked" >"$list"
    printf '%s\n' "$exported" | diff "$list" - | sed -n 's/^< /in the header, not exported: /p; s/^> /exported, not in the header: /p'
    rm -f "$list"
    exit 1
fi
echo "$(printf '%s\n' "$marked" | wc -l) functions"
