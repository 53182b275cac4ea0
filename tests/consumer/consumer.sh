#!/bin/bash
# Installs zvit into a scratch prefix, moves it, and builds programs against it there: in C and in C++, through
# find_package(zvit) and through pkg-config, shared and static. Each has to say of a picture what zvit classify says.
#   consumer.sh CMAKE BUILD SOURCE CC [CXX]
set -eu
cmake=$1 build=$2 source=$3 cc=$4 cxx=${5:-}
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
    echo "consumer.sh: $*" >&2
    exit 1
}
files_of() { (cd "$1" && find . -type f -o -type l | sort); }

# By --prefix, and by DESTDIR, as packages are made: the same files.
"$cmake" --install "$build" --prefix "$scratch/first" >/dev/null
DESTDIR=$scratch/staged "$cmake" --install "$build" --prefix /opt/zvit >/dev/null
files_of "$scratch/first" >"$scratch/list"
files_of "$scratch/staged/opt/zvit" | diff "$scratch/list" - || fail "DESTDIR and --prefix differ"
grep -E '^\./(bin|include)|\.pc$|\.cmake$|/lib[^/]*$|man1/zvit(-train)?\.1|/_?zvit$' "$scratch/list"

# Where it was built or first lay must not matter.
if grep -rIlE "$scratch|$source|$build" "$scratch/first" | grep -v '\.md$'; then
    fail "the files above name the folder that zvit was built in or installed into"
fi
mv "$scratch/first" "$scratch/moved"
prefix=$scratch/moved
libdir=$(dirname "$(find "$prefix" -name 'libzvit.so')")
[ "$(ls "$prefix/include")" = zvit.h ] || fail "more than zvit.h is installed"
for page in share/man/man1/zvit.1 share/man/man1/zvit-train.1 share/bash-completion/completions/zvit; do
    [ -s "$prefix/$page" ] || fail "$page is not there"
done

model=$source/tests/models/digits-zeros.safetensors
picture=$source/tests/golden/china_420.jpg
"$prefix/bin/zvit" classify --topk 1 "$model" "$picture" --json >"$scratch/json"
want=$(sed 's/.*"class":"\([^"]*\)".*"probability":\([0-9.]*\).*/\1 \2/' "$scratch/json" | LC_ALL=C awk '{printf "%s %.4f", $1, $2}')
[ -n "$want" ] || fail "zvit classify: $(cat "$scratch/json")"

says() { # says PROGRAM
    got=$("$@" "$model" "$picture") || fail "$* ended with $?"
    [ "$got" = "$want" ] || fail "$*: '$got', zvit classify: '$want'"
    echo "$(basename "$1"): $got"
}

"$cmake" -S "$here" -B "$scratch/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc" \
    ${cxx:+-DCMAKE_CXX_COMPILER="$cxx"} -DCMAKE_BUILD_TYPE=Release >"$scratch/log" 2>&1 &&
    "$cmake" --build "$scratch/build" >>"$scratch/log" 2>&1 || { cat "$scratch/log"; fail "find_package"; }
says "$scratch/build/consumer_c"
says "$scratch/build/consumer_static"
[ -z "$cxx" ] || says "$scratch/build/consumer_cpp"
ldd "$scratch/build/consumer_static" | grep libzvit && fail "zvit::zvit_static is libzvit.so"
# A version that is not compatible is refused.
sed 's/find_package(zvit 0.1 /find_package(zvit 0.0 /' "$here/CMakeLists.txt" >"$scratch/CMakeLists.txt"
"$cmake" -S "$scratch" -B "$scratch/old" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null 2>&1 && fail "find_package(zvit 0.0) finds 0.1"

if command -v pkg-config >/dev/null; then
    export PKG_CONFIG_PATH=$libdir/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
    # shellcheck disable=SC2046
    "$cc" -std=c11 "$here/main.c" -o "$scratch/pkg_c" $(pkg-config --cflags --libs zvit)
    LD_LIBRARY_PATH=$libdir says "$scratch/pkg_c"
    if [ -n "$cxx" ]; then
        # shellcheck disable=SC2046
        "$cxx" -std=c++17 "$here/main.cpp" -o "$scratch/pkg_cpp" $(pkg-config --cflags --libs zvit)
        LD_LIBRARY_PATH=$libdir says "$scratch/pkg_cpp"
    fi
    # Where there is only the archive, --static names all that it needs.
    rm "$libdir"/libzvit.so*
    # shellcheck disable=SC2046
    "$cc" -std=c11 "$here/main.c" -o "$scratch/pkg_static" $(pkg-config --static --cflags --libs zvit)
    says "$scratch/pkg_static"
fi
