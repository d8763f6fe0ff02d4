#!/usr/bin/env bash
# full.sh: a small file system is filled up. The log refuses records before it eats the reserve, takes a stop record from it,
# closes, reads whole, and goes on when there is room again.
source "$(dirname "$0")/common.sh"
load_binary
work_dir
loop_fs 12
for stride in 4096 65536 1048576 8388608; do
    "$LOAD" fill "$WORK/mnt/full.aos" --stride "$stride" | sed "s/^/stride $stride: /"
    [ "$(stat -f -c %a "$WORK/mnt")" -lt 600 ] || fail "the file system is not full"
    "$LOAD" read "$WORK/mnt/full.aos" >/dev/null || fail "the full log cannot be read"
    rm -rf "$WORK/mnt/full.aos"
done
