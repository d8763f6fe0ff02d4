#!/usr/bin/env bash
# bounds.sh [SIZES]: time and peak memory of opening a log for writing and of scanning it, by the log's size: opening depends on
# the tail alone. Prints JSON lines.
source "$(dirname "$0")/common.sh"
load_binary
work_dir
for size in ${1:-1048576 104857600 5368709120}; do
    free=$(($(stat -f -c '%a * %S' "$WORK")))
    [ "$free" -gt $((size * 3 / 2)) ] || skip "no room for a log of $size bytes"
    "$LOAD" grow "$WORK/b.aos" --bytes "$size" --stride 67108864 --no-sync
    for _ in 1 2 3; do
        "$LOAD" measure "$WORK/b.aos"
    done
    "$LOAD" measure "$WORK/b.aos" --scan
    rm -rf "$WORK/b.aos"
done
