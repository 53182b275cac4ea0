#!/bin/sh
# exported_symbols.sh HEADER LIBRARY NM: the functions that HEADER marks with VIT_API are what LIBRARY exports, and nothing
# else. Nor does LIBRARY know how to print, to end the program or to catch a signal. Prints what is wrong; exit code 1 then.
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

# What it imports of the C library, with the checked forms that -D_FORTIFY_SOURCE makes.
refused='(__)?(v?f?printf|puts|putchar|fputs|fputc|perror|exit|_exit|_Exit|quick_exit|abort|assert_fail|signal|sigaction|system)(_chk|_unlocked)?|stdout|stderr'
if "$nm" -D --undefined-only "$library" | awk '{ sub(/@.*/, "", $NF); print $NF }' | grep -E "^($refused)\$"; then
    echo "the functions above are not the library's to call"
    exit 1
fi
echo "$(printf '%s\n' "$marked" | wc -l) functions"
