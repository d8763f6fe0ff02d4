#!/usr/bin/env bash
# faults.sh [STEP]: each system call that a writer makes fails once, one after the other (every STEP-th of the frequent ones):
# strace injects the error. The writer says so or goes on, never lies: the log opens afterwards and has every acknowledged
# record.
source "$(dirname "$0")/common.sh"
command -v strace >/dev/null || skip "no strace"
load_binary
work_dir
strace -f -o /dev/null true 2>/dev/null || skip "strace may not trace here"
step=${1:-1}
total=0
told=0
for fault in pwrite64:EIO pwrite64:ENOSPC fdatasync:EIO fsync:EIO fsync:EINTR openat:EMFILE openat:EACCES ftruncate:ENOSPC rename:EIO pread64:EIO flock:EIO getdents64:EIO mkdir:ENOSPC unlink:EIO statx:EIO; do
    call=${fault%%:*}
    error=${fault##*:}
    calls=$(strace -f -e "trace=$call" -o "$WORK/count" "$LOAD" write "$WORK/count.aos" --records 60 --stride 16384 >/dev/null 2>&1; grep -c "$call(" "$WORK/count" || true)
    rm -rf "$WORK/count.aos"
    if [ "$calls" = 0 ]; then
        echo "skipped: $call $error: this writer makes no such call"
        continue
    fi
    n=1
    hit=0
    while [ "$n" -le "$calls" ]; do
        rm -rf "$WORK/f.aos"
        status=0
        strace -f -o /dev/null -e "trace=$call" -e "inject=$call:error=$error:when=$n" \
            "$LOAD" write "$WORK/f.aos" --records 60 --stride 16384 >"$WORK/acks" 2>"$WORK/said" || status=$?
        [ "$status" -lt 128 ] || fail "$call $error at $n: died of signal $((status - 128)): $(cat "$WORK/said")"
        ! grep -q panicked "$WORK/said" || fail "$call $error at $n: $(cat "$WORK/said")"
        [ "$status" = 0 ] || told=$((told + 1))
        "$LOAD" check "$WORK/f.aos" "$WORK/acks" >/dev/null 2>"$WORK/said" ||
            fail "$call $error at $n (exit $status): $(cat "$WORK/said")"
        hit=$((hit + 1))
        n=$((n + step))
    done
    total=$((total + hit))
    echo "$call $error: $hit of $calls calls failed in turn, nothing acknowledged lost"
done
echo "faults: $total runs, $told of them told of the fault, 0 losses"
