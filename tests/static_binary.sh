#!/bin/sh
# static_binary.sh ZVIT NM: the shared libraries that ZVIT needs are glibc's, all of them; and nothing that its archives hold is
# offered to the libraries it loads later. Prints what is wrong; exit code 1 then.
set -eu
zvit=$1 nm=${2:-nm}
[ -x "$zvit" ] || { echo "$zvit: no such program"; exit 1; }
needed=$(ldd "$zvit") || { echo "$zvit: ldd fails: $needed"; exit 1; }
echo "$needed" | grep -q 'libc\.so\.6' || { echo "$zvit: libc.so.6 expected, for libraries that are loaded at run time: $needed"; exit 1; }
others=$(echo "$needed" | grep -vE '^[[:space:]]*(linux-vdso\.so|(/[^ ]*/)?ld-linux[^ ]*|lib(c|m|pthread|dl|rt)\.so\.)' || true)
[ -z "$others" ] || { echo "$zvit needs more than glibc:"; echo "$others"; exit 1; }
offered=$("$nm" -D --defined-only "$zvit" | grep -E ' [TtWi] (png_|jpeg_|cJSON_|cblas_|openblas_|Sleef_|GOMP_|omp_|deflate|inflate)' || true)
[ -z "$offered" ] || { echo "$zvit offers its archives' functions:"; echo "$offered"; exit 1; }
echo "$needed"
