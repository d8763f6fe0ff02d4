# Shared by the scripts here: where the load binary is, and saying `skipped: reason` instead of passing silently.

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# skip REASON: exit 77, which no caller takes for success.
skip() {
    echo "skipped: $1"
    exit 77
}

fail() {
    echo "FAILED: $1" >&2
    exit 1
}

# The load binary: LOAD, or built here.
load_binary() {
    if [ -z "${LOAD:-}" ]; then
        cargo build --quiet --release --manifest-path "$ROOT/Cargo.toml" -p aos-store --example load
        LOAD="${CARGO_TARGET_DIR:-$ROOT/target}/release/examples/load"
    fi
    [ -x "$LOAD" ] || fail "no load binary at $LOAD"
}

# A directory that goes away with the script, and what is mounted in it.
work_dir() {
    WORK=$(mktemp -d "${TMPDIR:-/tmp}/aos-real.XXXXXX")
    trap 'tidy' EXIT
}

tidy() {
    mountpoint -q "$WORK/mnt" 2>/dev/null && umount "$WORK/mnt" || true
    [ -z "${LOOP:-}" ] || losetup -d "$LOOP" || true
    rm -rf "$WORK"
}

# loop_fs MEBIBYTES: an ext4 file system of its own, mounted at $WORK/mnt.
loop_fs() {
    [ "$(id -u)" = 0 ] || skip "mounting needs root"
    command -v mkfs.ext4 >/dev/null || skip "no mkfs.ext4"
    truncate -s "$1M" "$WORK/image"
    mkfs.ext4 -q -F "$WORK/image" || skip "mkfs.ext4 does not work here"
    LOOP=$(losetup --find --show "$WORK/image" 2>/dev/null) || { LOOP=; skip "no loop device"; }
    mkdir -p "$WORK/mnt"
    mount -t ext4 "$LOOP" "$WORK/mnt" 2>/dev/null || skip "cannot mount ext4 from a loop device"
}
