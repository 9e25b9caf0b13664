#!/bin/sh
# Makes what `tests/infra/test_arm64.py` needs: Debian trixie's emulator and its Python for arm64, and the packages of
# the image's lock file as wheels for aarch64. Needs root, apt and debootstrap.
#
#     tests/infra/arm64_root.sh FOLDER && ARM64_ROOT=FOLDER python -m pytest tests/infra/test_arm64.py
set -eu
root=$(realpath -m "$1")
repository=$(realpath "$(dirname "$0")/../..")
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
mkdir -p "$root/apt/lists/partial" "$root/apt/archives/partial" "$root/emulator"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" > "$root/apt/sources.list"
apt() {
    apt-get -qq -o Dir::Etc::SourceList="$root/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$root/apt/lists" -o Dir::Cache::Archives="$root/apt/archives" "$@"
}
apt update
(cd "$root/apt" && apt download qemu-user)
dpkg -x "$root"/apt/qemu-user_*.deb "$root/emulator"
debootstrap --foreign --arch=arm64 --variant=minbase --include=python3.13 trixie "$root/debian" "$mirror" >"$root/debootstrap.log"
for package in "$root"/debian/var/cache/apt/archives/*.deb; do dpkg -x "$package" "$root/debian"; done
python3 -m pip install --quiet --no-deps --require-hashes --only-binary :all: --python-version 3.13 \
    --implementation cp --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
    --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 --target "$root/python" \
    --requirement "$repository/requirements-image.lock"
