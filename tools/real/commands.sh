#!/usr/bin/env bash
# commands.sh [STEP] [COMMAND...]: each aosctl command that writes, real files, a real process. Each system call that it makes
# fails in turn (strace injects the error, once and for good), then the process is killed at each in turn (every STEP-th of
# each kind). Nothing panics or dies of a signal that was not sent; what a command said is done is done; every log verifies;
# the same command afterwards ends where one that was never disturbed ends.
source "$(dirname "$0")/common.sh"
command -v strace >/dev/null || skip "no strace"
command -v python3 >/dev/null || skip "no python3"
strace -f -o /dev/null true 2>/dev/null || skip "strace may not trace here"
if [ -z "${AOSCTL:-}" ]; then
    cargo build --quiet --release --manifest-path "$ROOT/Cargo.toml" -p aosctl
    AOSCTL="${CARGO_TARGET_DIR:-$ROOT/target}/release/aosctl"
fi
work_dir
cat >"$WORK/commands.py" <<'PY'
import glob, json, os, re, shutil, subprocess, sys
aosctl, work, step, only = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]

FILES = {
    "wf.yaml": """document: {dsl: '1.0.3', namespace: real, name: steps, version: '1.0.0'}
do:
  - one: {set: {n: '${ .n + 1 }'}}
  - nap: {wait: {seconds: 5}}
  - two: {set: {n: '${ .n * 2 }'}}
""",
    "ear.yaml": """document: {dsl: '1.0.3', namespace: real, name: ear, version: '1.0.0'}
do:
  - hear: {listen: {to: {one: {with: {type: go}}}}}
  - two: {set: {n: 2}}
""",
    "bang.yaml": """document: {dsl: '1.0.3', namespace: real, name: bang, version: '1.0.0'}
do:
  - die: {run: {shell: {command: 'kill -9 $PPID'}}}
  - two: {set: {n: 2}}
""",
    "tick.yaml": """document: {dsl: '1.0.3', namespace: real, name: tick, version: '1.0.0'}
schedule: {every: {minutes: 1}}
do:
  - two: {set: {n: 2}}
""",
    "in.jsonl": '{"n":1}\n{"n":2}\n{"n":3}\n',
    "events.jsonl": '{"run":"a","type":"begin","x":1}\n{"run":"b","type":"begin","x":2}\n{"run":"a","type":"end","x":3}\n',
}
RUN = "run wf.yaml --log a.aos --seed 7 --inputs in.jsonl --key-by .n --clock virtual --stride 16K"
EAR = "run ear.yaml --log ear.aos --seed 7 --key e --input {} --stride 16K"
BANG = "run bang.yaml --log bang.aos --seed 7 --key b --input {} --stride 16K"
SEALED = [RUN, "key new gold.key --name real/gold", "golden seal a.aos --all --key gold.key --out a.golden --sealed-at 2026-01-01T00:00:00Z"]
SIGNED = [RUN, "key new gold.key --name real/gold --alg ed25519", "key export-public gold.key > trust.json"]
SIGNED += ["golden seal a.aos --all --key gold.key --out a.golden --sealed-at 2026-01-01T00:00:00Z"]
PACK = SEALED + ["!mkdir d; mv a.golden d/", "golden archive d --days 0"]
FLIP = "!printf X | dd of=a.aos/segments/00000000000000000000.seg bs=1 seek=3000 conv=notrunc status=none"

# What is done before; the command; what it may answer when it is given again; the files that hold its result; what is done
# before they are compared.
COMMANDS = {
    "run": ([], RUN, {0}, ["a.aos"]),
    "schedule run": ([], "schedule run tick.yaml --log t.aos --seed 7 --from 2026-01-01T00:00:00Z --until 2026-01-01T00:05:00Z --missed all --clock virtual --now 2026-01-01T00:06:00Z", {0}, ["t.aos"]),
    "event send": ([EAR], "event send ear.aos e --type go --id 1", {0}, ["ear.aos"]),
    "resume": ([EAR, "event send ear.aos e --type go --id 1"], "resume ear.aos", {0}, ["ear.aos"]),
    "suspend": ([EAR], "suspend ear.aos e --actor me", {0}, ["ear.aos"]),
    "cancel": ([EAR], "cancel ear.aos e --actor me", {0, 3}, ["ear.aos"], ["resume ear.aos"]),
    "checkpoint take": ([EAR], "checkpoint take ear.aos", {0}, ["ear.aos"]),
    "resolve": (["?" + BANG], "resolve bang.aos b /do/0/die --failed --actor me", {0, 3}, ["bang.aos"]),
    "import jsonl": ([], "import jsonl events.jsonl --log i.aos --run run --stride 16K", {0}, ["i.aos"]),
    "log backup": ([RUN], "log backup a.aos --out b", {0}, ["b"]),
    "log restore": ([RUN, "log backup a.aos --out b"], "log restore b --log r.aos", {0, 3}, ["r.aos"]),
    "log salvage": ([RUN, FLIP], "log salvage a.aos --out s.aos", {0, 1, 3, 5, 7}, ["s.aos"]),
    "log fsck --repair": ([RUN, FLIP], "log fsck a.aos --repair", {0, 1, 5, 7}, ["a.aos"]),
    "log fsck --rebuild-catalog": ([RUN, "!rm a.aos/catalog*"], "log fsck a.aos --rebuild-catalog", {0, 6}, ["a.aos"]),
    "whatif": ([RUN], "whatif a.aos 1 --set input={\"n\":5} --log w.aos", {0, 1, 3}, ["w.aos"]),
    "key new": ([], "key new k.key --name real/k", {0, 3}, ["k.key"]),
    "key rotate": (["key new k.key --name real/k --forward-secure"], "key rotate k.key", {0}, ["k.key"]),
    "log prune": ([RUN.replace("16K", "4K"), *SEALED[1:]], "log prune a.aos --keep 0 --archives a.golden --key gold.key --force", {0}, ["a.aos"]),
    "golden seal": (SEALED[:2], SEALED[2], {0, 3}, ["a.golden"]),
    "golden resign": (SEALED + ["key new n.key --name real/n"], "golden resign a.golden --old-key gold.key --new-key n.key --reason new", {0, 3}, ["a.golden"]),
    "golden redact": (SEALED, "golden redact a.golden --out r.golden --run 1 --path $.input", {0, 3}, ["r.golden"]),
    "golden archive": (SEALED + ["!mkdir d; mv a.golden d/"], "golden archive d --days 0", {0, 3}, ["d"]),
    "golden restore": (PACK + ["!mkdir o"], "golden restore d/pack-*.tar.zst --out o", {0, 3}, ["o"]),
    "golden cleanup": (PACK, "golden cleanup d --days 0 --force", {0}, ["d"]),
    "evidence pack": (SIGNED, "evidence pack a.golden --out e.zip --key gold.key --trust trust.json", {0, 3}, ["e.zip"]),
    "witness": (SIGNED + ["key new w.key --name real/w --alg ed25519", "golden checkpoint a.golden > c.txt"], "witness c.txt --state w.json --trust trust.json --key w.key", {0}, ["w.json"]),
}
FAULTS = "write:EIO pwrite64:EIO pwrite64:ENOSPC fdatasync:EIO fsync:EIO openat:EACCES openat:EMFILE ftruncate:ENOSPC fallocate:ENOSPC rename:EIO renameat2:EIO linkat:EIO link:EIO pread64:EIO read:EIO flock:EIO getdents64:EIO mkdir:ENOSPC unlink:EIO copy_file_range:EIO fchmod:EPERM".split()

def sh(line, cwd, wrap=()):
    """Runs one line: of the shell after '!', else of aosctl; '?' expects it to die."""
    if line.startswith("!"):
        return subprocess.run(line[1:], shell=True, cwd=cwd, capture_output=True)
    line, _, to = line.partition(" > ")
    words = line.lstrip("?").split(" ")
    words = [glob.glob(word, root_dir=cwd)[0] if "*" in word else word for word in words]
    done = subprocess.run([*wrap, aosctl, *words], cwd=cwd, capture_output=True, stdin=subprocess.DEVNULL)
    if to:
        open(os.path.join(cwd, to), "wb").write(done.stdout)
    return done

def state(cwd, names, then=()):
    """What the result says, without what differs from one execution to the next."""
    found = {}
    for line in then:
        sh(line, cwd)
    for name in names:
        path = os.path.join(cwd, name)
        if not os.path.exists(path):
            found[name] = None
        elif name.endswith(".aos"):
            rows = [json.loads(row) for row in sh(f"runs {name} -o jsonl", cwd).stdout.splitlines()]
            keep = ("key", "status", "history_digest", "steps", "workflow")
            found[name] = sorted([str(row.get(field)) for field in keep] for row in rows if "key" in row)
        elif os.path.isdir(path):
            # A process that was killed may leave what it was making, under a name that says so.
            found[name] = sorted(file for file in os.listdir(path) if not file.endswith(".tmp"))
        elif name.endswith(".golden"):
            found[name] = sh(f"golden verify {name} --key gold.key -o json", cwd).returncode
        else:
            found[name] = os.path.getsize(path) > 0
    return found

def fail(where, why, done=None):
    said = "" if done is None else f"\n{done.stdout.decode(errors='replace')[-1500:]}{done.stderr.decode(errors='replace')[-1500:]}"
    print(f"FAILED: {where}: {why}{said}", flush=True)
    failures.append(where)

def judge(where, cwd, command, names, then, done, killed, clean, again):
    """Whether what is left is sound, and whether the same command leads to the end of an undisturbed one."""
    code = done.returncode
    if code < 0 and not (killed and code == -9):
        return fail(where, f"died of signal {-code}", done)
    if code in (70, 101) or b"panicked" in done.stderr:
        return fail(where, f"exit {code}", done)
    if code >= 128 and not (killed and code == 137):
        return fail(where, f"exit {code}", done)
    for name in names:
        path = os.path.join(cwd, name)
        # Before anything is in it, the directory is no log yet.
        if name.endswith(".aos") and os.path.isdir(path) and os.listdir(path) and "--repair" not in command:
            checked = sh(f"verify {name}", cwd)
            if checked.returncode not in (0, 4, 7):
                return fail(where, f"verify {name} says {checked.returncode} after exit {code}", checked)
    if code in clean[2] and not then:
        left = state(cwd, names)
        if left != clean[1]:
            return fail(where, f"it said {code} and left {left}, not {clean[1]}", done)
    second = sh(command, cwd)
    if second.returncode not in again:
        return fail(where, f"the same command then says {second.returncode} (first {code})", second)
    left = state(cwd, names, then)
    if left != clean[1]:
        return fail(where, f"the same command then leaves {left}, not {clean[1]}", second)

failures, total = [], 0
for title, (before, command, again, names, *then) in COMMANDS.items():
    then = then[0] if then else []
    if only and title not in only:
        continue
    base, cwd, trace = (os.path.join(work, name) for name in ("base", "try", "trace"))
    shutil.rmtree(base, ignore_errors=True)
    os.mkdir(base)
    for name, text in FILES.items():
        open(os.path.join(base, name), "w").write(text)
    for line in before:
        done = sh(line, base)
        if done.returncode and not line.startswith("?"):
            sys.exit(f"FAILED: preparing {title}: {line}: {done.stderr.decode()}")
    def fresh():
        shutil.rmtree(cwd, ignore_errors=True)
        shutil.copytree(base, cwd, symlinks=True)
    fresh()
    done = sh(command, cwd, ["strace", "-f", "-o", trace])
    if done.returncode not in again:
        sys.exit(f"FAILED: {title}, undisturbed: exit {done.returncode}: {done.stderr.decode()}")
    clean = (done, state(cwd, names, then), {done.returncode})
    calls = open(trace).read()
    counts = {call: len(re.findall(rf"\b{call}\(", calls)) for call in {fault.split(":")[0] for fault in FAULTS}}
    tried = 0
    for fault in FAULTS + ["kill"]:
        kinds = sorted(counts) if fault == "kill" else [fault.split(":")[0]]
        for call in kinds:
            for n in range(1, counts[call] + 1, step):
                for when in ([f"{n}"] if fault == "kill" else [f"{n}", f"{n}+"]):
                    # The loader's own calls come first; what fails for good there never reaches AOS.
                    what = "signal=KILL" if fault == "kill" else f"error={fault.split(':')[1]}"
                    fresh()
                    wrap = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:{what}:when={when}"]
                    done = sh(command, cwd, wrap)
                    tried += 1
                    if done.returncode == 127 and b"error while loading shared libraries" in done.stderr:
                        continue
                    judge(f"{title}: {call} {what} at {when}", cwd, command, names, then, done, fault == "kill", clean, again)
    total += tried
    print(f"{title}: {tried} runs, {sum(counts.values())} calls undisturbed", flush=True)
print(f"commands: {total} runs, {len(failures)} failures")
sys.exit(1 if failures else 0)
PY
python3 "$WORK/commands.py" "$AOSCTL" "$WORK" "${1:-1}" "${@:2}"
