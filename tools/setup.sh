# Sourced by demo.sh and test.sh: sees to it that compiler and libraries are there.
#   zvit_setup [EXTRA_PACKAGE...]
# Installs with apt-get on Debian and its kin, only what is missing, with sudo when not root.
# Elsewhere it names the packages and stops.

ZVIT_PACKAGES="cmake ninja-build gcc libc6-dev pkg-config libjpeg-dev libpng-dev
    libopenblas-openmp-dev libcjson-dev libsleef-dev"

# The packages of a list that are not installed. For some another one does as well.
zvit_missing() {
    for package in "$@"; do
        case "$package" in
        libopenblas-*-dev) alternatives="libopenblas-openmp-dev libopenblas-pthread-dev libopenblas-dev" ;;
        libjpeg-dev) alternatives="libjpeg-dev libjpeg62-turbo-dev libjpeg-turbo8-dev" ;;
        pkg-config) alternatives="pkg-config pkgconf" ;;
        *) alternatives="$package" ;;
        esac
        found=no
        for alternative in $alternatives; do
            if dpkg-query -W -f '${Status}\n' "$alternative" 2>/dev/null | grep -q ' installed$'; then
                found=yes
            fi
        done
        [ $found = yes ] || printf ' %s' "$package"
    done
}

zvit_setup() {
    if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-query >/dev/null 2>&1; then
        for tool in cmake ninja pkg-config cc; do
            if ! command -v $tool >/dev/null 2>&1; then
                echo "zvit needs these (by their Debian names); please install them and run this again:" >&2
                echo "  $(echo $ZVIT_PACKAGES "$@")" >&2
                exit 1
            fi
        done
        return 0
    fi
    missing=$(zvit_missing $ZVIT_PACKAGES "$@")
    if [ -z "$missing" ]; then
        return 0
    fi
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null 2>&1; then
            echo "zvit needs packages that only root can install; as root, run:" >&2
            echo "  apt-get install --no-install-recommends$missing" >&2
            exit 1
        fi
        as_root=sudo
    fi
    echo "== installing:$missing"
    # A package list that is old or absent is the commonest reason for a failure.
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    $as_root apt-get update -q || {
        echo "apt-get update failed; zvit needs:$missing" >&2
        exit 1
    }
    $as_root apt-get install -y -q --no-install-recommends $missing || {
        echo "apt-get install failed; zvit needs:$missing" >&2
        exit 1
    }
}
