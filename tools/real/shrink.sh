#!/usr/bin/env bash
# shrink.sh: a segment is cut while readers scan the log. They say what is wrong; none dies of a signal.
source "$(dirname "$0")/common.sh"
load_binary
work_dir
"$LOAD" write "$WORK/s.aos" --records 20000 --stride 1048576 --no-sync >/dev/null
for len in 0 100 4096 500000; do
    cp -r "$WORK/s.aos" "$WORK/cut.aos"
    "$LOAD" read "$WORK/cut.aos" --rounds 100000 >"$WORK/said" 2>&1 &
    reader=$!
    until grep -q "round 1 " "$WORK/said"; do
        kill -0 "$reader" 2>/dev/null || fail "the reader ended by itself: $(tail -1 "$WORK/said")"
    done
    truncate -s "$len" "$WORK/cut.aos/segments/00000000000000000000.seg"
    status=0
    wait "$reader" || status=$?
    [ "$status" = 1 ] || fail "cut to $len bytes: the reader ended with $status: $(tail -1 "$WORK/said")"
    echo "cut to $len bytes: $(tail -1 "$WORK/said")"
    rm -rf "$WORK/cut.aos"
done
