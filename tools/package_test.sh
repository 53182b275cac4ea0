#!/bin/bash
# Builds the Debian packages, installs them with apt into a clean Debian 12, classifies a picture there, looks for manual
# pages and completion, and builds the C consumer (tests/consumer) against libzvit-dev. Needs root, debootstrap and a mirror.
#   tools/package_test.sh [MIRROR]     default: http://deb.debian.org/debian
# The packages of the bare system are kept below build/package_test and used again. Says what it measured.
set -euo pipefail
cd "$(dirname "$0")/.."
mirror=${1:-http://deb.debian.org/debian}
here=$PWD/build/package_test
root=$here/root
packages=$PWD/build/package/packages
model=tests/models/digits-zeros.safetensors
picture=tests/golden/china_420.jpg

fail() {
    echo "tools/package_test.sh: $*" >&2
    exit 1
}
[ "$(id -u)" -eq 0 ] || fail "needs root, for debootstrap and chroot"
for tool in debootstrap cmake cpack dpkg-deb; do
    command -v $tool >/dev/null || fail "$tool is missing (Debian: debootstrap cmake dpkg file)"
done

cleanup() {
    mountpoint -q "$root/proc" && umount "$root/proc"
    true
}
trap cleanup EXIT

rm -rf "$packages"
cmake --preset package >/dev/null
cmake --build --preset package
cpack --preset package 2>/dev/null >/dev/null || fail "cpack"
echo "== packages"
for deb in "$packages"/*.deb; do
    printf '%-40s %8d bytes, installed %5d KiB\n' "$(basename "$deb")" "$(stat -c %s "$deb")" "$(dpkg-deb -f "$deb" Installed-Size)"
done
if command -v lintian >/dev/null; then
    lintian --fail-on error --allow-root "$packages"/*.deb >"$packages/lintian.log" 2>&1 || fail "lintian finds errors: $(grep '^E:' "$packages/lintian.log")"
    echo "lintian: no errors"
fi

echo "== a clean Debian 12"
mkdir -p "$here"
base=$here/base.tar
if [ ! -e "$base" ]; then
    rm -rf "$here/work"
    debootstrap --variant=minbase bookworm "$here/work" "$mirror" >"$here/debootstrap.log" || fail "debootstrap: see $here/debootstrap.log"
    tar -C "$here/work" -cf "$base.new" .
    mv "$base.new" "$base"
    rm -rf "$here/work"
fi
cleanup
rm -rf "$root"
mkdir -p "$root" "$here/archives"
tar -C "$root" -xf "$base"
mount -t proc proc "$root/proc" 2>/dev/null || true
cp "$packages"/*.deb "$root/root"
cp "$model" "$root/root/model.safetensors"
cp "$picture" "$root/root/picture.jpg"
cp tests/consumer/main.c "$root/root"
cp "$here"/archives/*.deb "$root/var/cache/apt/archives/" 2>/dev/null || true
in_root() { LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"; }
echo "deb $mirror bookworm main" >"$root/etc/apt/sources.list"
in_root apt-get -q update >"$here/apt.log" 2>&1 || fail "apt-get update: see $here/apt.log"
installed() { in_root dpkg-query -W -f '${Installed-Size}\n' | awk '{n++; s += $1} END {print n, s}'; }
install() { # install PACKAGE...
    read -r count before < <(installed)
    start=$(date +%s%N)
    in_root apt-get -q -y install "$@" >>"$here/apt.log" 2>&1 || fail "apt-get install $*: see $here/apt.log"
    read -r after size < <(installed)
    echo "apt-get install $*: $((after - count)) packages, $(((size - before) / 1024)) MiB, $((($(date +%s%N) - start) / 1000000000)) s"
}

install --no-install-recommends "/root/$(basename "$packages"/zvit_*.deb)"
in_root zvit --version
libraries=$(in_root ldd /usr/bin/zvit) || fail "ldd of /usr/bin/zvit fails"
[[ $libraries != *"not found"* ]] || fail "libraries are missing: $libraries"
answer=$(in_root zvit classify --topk 1 /root/model.safetensors /root/picture.jpg)
echo "$answer"
here_answer=$(build/package/zvit classify --topk 1 "$model" "$picture" | awk '{print $2, $3}')
[ "$(echo "$answer" | awk '{print $2, $3}')" = "$here_answer" ] || fail "there '$answer', here '$here_answer'"
explain() { in_root zvit explain /root/model.safetensors /root/picture.jpg --out /root/map.png 2>&1 >/dev/null; }
warning=$(explain)
[[ $warning == *cairo* ]] || fail "explain without cairo says '$warning'"
echo "without recommended packages: $warning"

recommended=$(dpkg-deb -f "$packages"/zvit_*.deb Recommends | tr -d ,)
# shellcheck disable=SC2086
install --no-install-recommends $recommended
[ -z "$(explain)" ] || fail "explain with cairo says '$(explain)'"
serving=$(in_root timeout 3 zvit serve /root/model.safetensors --port 0 2>&1 || true)
[[ $serving == *http://* ]] || fail "serve says '$serving'"
for file in man/man1/zvit.1.gz man/man1/zvit-train.1.gz bash-completion/completions/zvit zsh/vendor-completions/_zvit \
    doc/zvit/copyright doc/zvit/README.md; do
    [ -s "$root/usr/share/$file" ] || fail "/usr/share/$file is not there"
done
echo "manual pages: $(ls "$root"/usr/share/man/man1/zvit*.1.gz | wc -l)"

echo "== libzvit-dev"
install --no-install-recommends gcc libc6-dev pkg-config "/root/$(basename "$packages"/libzvit0_*.deb)" \
    "/root/$(basename "$packages"/libzvit-dev_*.deb)"
in_root sh -c 'cd /root && gcc -std=c11 -Wall -Wextra -pedantic -Werror main.c -o consumer $(pkg-config --cflags --libs zvit)' ||
    fail "the consumer does not build"
consumed=$(in_root /root/consumer /root/model.safetensors /root/picture.jpg)
echo "consumer: $consumed"
[ "${consumed%% *}" = "${here_answer%% *}" ] || fail "the consumer says '$consumed', zvit '$here_answer'"

in_root apt-get -q -y purge zvit libzvit0 libzvit-dev >>"$here/apt.log" 2>&1 || fail "purge: see $here/apt.log"
left=$(find "$root/usr" "$root/etc" "$root/var/lib" -name '*zvit*' -not -path '*/dpkg/*' -not -path '*/apt/*')
[ -z "$left" ] || fail "left behind: $left"
echo "purged: nothing is left"
cp "$root"/var/cache/apt/archives/*.deb "$here/archives" 2>/dev/null || true
cleanup
rm -rf "$root"
echo "passed in $SECONDS s"
