#!/usr/bin/env bash
# cut.sh [CYCLES] [--no-sync]: power cuts. A writer works on an ext4 file system of its own on a loop device, which is shut
# down under it (EXT4_IOC_SHUTDOWN without flushing the journal: whatever was not synced is gone), unmounted and mounted
# again. Only acknowledgements received before the shutdown count. With --no-sync, the negative control, the writer's syncs do
# nothing, and the script says how many cycles lost something.
source "$(dirname "$0")/common.sh"
cycles=${1:-300}
control=${2:-}
command -v python3 >/dev/null || skip "no python3 for the ioctl"
load_binary
work_dir
loop_fs 256

cat >"$WORK/cut.py" <<'PY'
# Starts the writer, takes its acknowledgements, cuts the power after some of them, then kills it.
import fcntl, os, random, struct, subprocess, sys, time
load, log, acks, mount, seed = sys.argv[1:6]
rng = random.Random(int(seed))
writer = subprocess.Popen([load, "write", log, "--stride", "262144"] + sys.argv[6:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
fd = os.open(mount, os.O_RDONLY)
until = time.monotonic() + rng.uniform(0.005, 0.12)
wanted = rng.randrange(0, 6000)
got = b""
os.set_blocking(writer.stdout.fileno(), False)
while len(got) < wanted or time.monotonic() < until:
    try:
        piece = os.read(writer.stdout.fileno(), 65536)
    except BlockingIOError:
        continue
    if not piece:
        break
    got += piece
EXT4_IOC_SHUTDOWN, NOLOGFLUSH = 0x8004587D, 2
try:
    fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
except OSError as error:
    writer.kill()
    print("skipped: EXT4_IOC_SHUTDOWN:", error)
    sys.exit(77)
os.close(fd)
writer.kill()
writer.wait()
with open(acks, "ab") as file:
    # Whole lines only, and only what was read before the cut.
    file.write(got[: got.rfind(b"\n") + 1])
PY

lost=0
for cycle in $(seq 1 "$cycles"); do
    # With the control every cycle has a log of its own: one that lost something is not written on.
    log="$WORK/mnt/cut.aos"
    if [ -n "$control" ]; then
        rm -rf "$log"
        : >"$WORK/acks"
        sync -f "$WORK/mnt"
    fi
    status=0
    said=$(python3 "$WORK/cut.py" "$LOAD" "$log" "$WORK/acks" "$WORK/mnt" "$cycle" $control) || status=$?
    [ "$status" != 77 ] || { echo "$said"; exit 77; }
    [ "$status" = 0 ] || fail "cycle $cycle: the cutter failed"
    umount "$WORK/mnt"
    mount -t ext4 "$LOOP" "$WORK/mnt"
    if said=$("$LOAD" check "$log" "$WORK/acks" 2>&1); then
        :
    elif [ -n "$control" ]; then
        lost=$((lost + 1))
    else
        fail "cycle $cycle: $said"
    fi
    # A log that has grown begins again, so that the file system does not fill.
    if [ -z "$control" ] && [ "$(stat -f -c %a "$WORK/mnt")" -lt 20000 ]; then
        rm -rf "$log"
        : >"$WORK/acks"
        sync -f "$WORK/mnt"
    fi
done
if [ -n "$control" ]; then
    echo "power cut without syncs (control): $cycles cycles, $lost of them lost acknowledged records"
    [ "$lost" -gt 0 ] || fail "the control lost nothing: this script would not notice a loss"
else
    echo "power cut: $cycles cycles, 0 losses; the last check: $said"
fi
