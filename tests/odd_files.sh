#!/bin/sh
# Fetches the packages whose test suites hold odd and broken pictures, unpacks these and lets
# odd_files judge them: odd_files.sh ODD_FILES FOLDER. FOLDER keeps the packages for the next time.
# Exit code 77, a skipped test, when they cannot be had.
set -eu
program=$1
folder=$2
here=$(cd "$(dirname "$0")" && pwd)
skip() {
    echo "skipped: $1"
    exit 77
}

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || skip "no Debian packages here"
mkdir -p "$folder"
cd "$folder"
for package in golang-1.19-src gdk-pixbuf-tests; do
    if ! ls "$package"_*.deb >/dev/null 2>&1; then
        # Apart, so that a download that breaks off leaves nothing that looks whole.
        rm -rf "$package.part"
        mkdir "$package.part"
        (cd "$package.part" && timeout 120 apt-get download -q "$package" >../"$package.log" 2>&1) ||
            skip "$package cannot be downloaded"
        mv "$package.part"/*.deb .
        rmdir "$package.part"
    fi
    if [ ! -e "$package.unpacked" ]; then
        dpkg-deb --fsys-tarfile "$package"_*.deb | tar -x --wildcards \
            './usr/share/go-1.19/src/image/*testdata/*' \
            './usr/libexec/installed-tests/gdk-pixbuf/*' 2>/dev/null || true
        touch "$package.unpacked"
    fi
done
exec "$program" "$here/odd_files.txt" "$folder"
