#!/usr/bin/env python3
"""Verifies a golden archive, a proof or a checkpoint of AOS without AOS, as golden.md beside it says.

    verify_golden.py FILE.golden [--trust TRUST] [--anchor CHECKPOINT]
    verify_golden.py --proof PROOF [--trust TRUST]
    verify_golden.py --checkpoint CHECKPOINT --trust TRUST
    verify_golden.py --pruned PRUNED FILE.golden... [--trust TRUST]     what a pruned log keeps, beside the archives of the rest

Prints the verdict. Exit 0 valid · 3 untrusted · 5 corrupt or tampered · 6 a file that cannot be read · 7 incomplete, or zstd is needed and not there.
"""
import argparse, base64, bisect, hashlib, hmac, json, os, struct, sys, zlib

class Bad(Exception):
    """Carries the verdict and why."""

def need(holds, verdict, why):
    if not holds:
        raise Bad(verdict, why)

def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()

def b64(text, verdict="tampered"):
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise Bad(verdict, "text that is not base64")

# --- Ed25519, RFC 8032: the curve in extended coordinates, verification alone --------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P

def add(a, b):
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    e, f = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    g, h = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    i, j, k, m = f - e, h - g, h + g, f + e
    return i * j % P, k * m % P, j * k % P, i * m % P

def times(n, point):
    total = (0, 1, 1, 0)
    while n:
        if n & 1:
            total = add(total, point)
        point, n = add(point, point), n >> 1
    return total

def same(a, b):
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0

def point(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or x == 0 and sign:
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P

BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))

def ed25519(public, message, signature):
    if len(public) != 32 or len(signature) != 64:
        return False
    key, r, s = point(public), point(signature[:32]), int.from_bytes(signature[32:], "little")
    if not key or not r or s >= L or same(times(8, key), (0, 1, 1, 0)) or same(times(8, r), (0, 1, 1, 0)):
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    return same(times(s, BASE), add(r, times(h, key)))

# --- keys and trust ------------------------------------------------------------------------------------------------------

def hkdf(secret, label):
    extracted = hmac.new(bytes(32), secret, hashlib.sha256).digest()
    return hmac.new(extracted, label + b"\x01", hashlib.sha256).digest()

def at_epoch(key, epoch):
    """The secret of a forward-secure key in an epoch; None for one before it, or out of reach."""
    secret, steps = key["secret"], epoch - key["epoch"]
    if not 0 <= steps <= 100000:
        return None
    for _ in range(steps):
        secret = hkdf(secret, b"aos.key-epoch.v1")
    return secret

def one_key(a, b):
    """Whether both are one key, be it in two epochs."""
    if "public" in a or "public" in b:
        return b64(a.get("public", "")) == b64(b.get("public", ""))
    if a["epoch"] is None or b["epoch"] is None:
        return a["secret"] == b["secret"]
    return at_epoch(a, b["epoch"]) == b["secret"] or at_epoch(b, a["epoch"]) == a["secret"]

def once(pairs):
    """An object of JSON whose keys are given once."""
    need(len(pairs) == len(dict(pairs)), "untrusted", "a key of an object is given twice")
    return dict(pairs)

class Trust:
    def __init__(self, path):
        value = json.load(open(path), object_pairs_hook=once)
        need(value.get("schema") == "aos.trust.v1", "untrusted", "it is no trust file")
        self.keys, self.threshold = value["keys"], value.get("threshold", 1)
        for key in self.keys:
            if key["algorithm"] == "hmac-sha256":
                file = json.load(open(os.path.join(os.path.dirname(path), key["key_file"])))
                key["secret"], key["epoch"] = base64.b64decode(file["secret"]), file.get("epoch")
        for number, key in enumerate(self.keys):
            for other in self.keys[:number]:
                alike = key.get("purpose", "archive") == other.get("purpose", "archive")
                need(not alike or not one_key(key, other), "untrusted", "a key stands in it twice")

    def holds(self, key, text, name, key_hash, signature):
        """None: another key's. Else whether the signature holds. Text and signature are bytes."""
        purpose = key.get("purpose", "archive")
        if purpose == "witness" and name == key["name"] and key["algorithm"] == "ed25519" and len(signature) > 8:
            public = base64.b64decode(key["public"])
            seen = b"cosignature/v1\ntime %d\n" % struct.unpack(">Q", signature[:8]) + text
            known = sha(name.encode(), b"\n\x04", public)[:4] == key_hash
            return ed25519(public, seen, signature[8:]) if known else None
        if name != key["name"] or purpose != "archive":
            return None
        if key["algorithm"] == "ed25519":
            public = base64.b64decode(key["public"])
            known = sha(name.encode(), b"\n\x01", public)[:4] == key_hash
            return ed25519(public, text, signature) if known else None
        secret = key["secret"]
        if key["epoch"] is not None:
            lines = [line[6:] for line in text.decode().splitlines() if line.startswith("epoch ")]
            secret = at_epoch(key, int(lines[0])) if len(lines) == 1 and lines[0].isdigit() else None
            if secret is None:
                return None
        known = sha(name.encode(), b"\n\xffaos.hmac-sha256.v1", hkdf(secret, b"aos.key-id.v1")[:16])[:4] == key_hash
        mac = hmac.new(hkdf(secret, b"aos.golden.sign.v1"), text, hashlib.sha256).digest()
        return hmac.compare_digest(mac, signature) if known else None

    def signers(self, text, signatures):
        """Numbers of the keys that signed; a signature of one of them that fails is tampering."""
        found = set()
        for name, key_hash, signature in signatures:
            answers = {number: self.holds(key, text, name, key_hash, signature) for number, key in enumerate(self.keys)}
            need(True in answers.values() or False not in answers.values(), "tampered", f"a signature of {name} fails")
            # A witness says what it has seen; it vouches for nothing.
            found |= {number for number, answer in answers.items() if answer and self.keys[number].get("purpose") != "witness"}
        return found

# --- notes and checkpoints -----------------------------------------------------------------------------------------------

def note(data):
    """Text and signatures of a signed note, or a bare checkpoint without any."""
    need(all(byte >= 32 or byte == 10 for byte in data), "tampered", "a control character in a note")
    head, blank, tail = data.rpartition(b"\n\n")
    if not blank:
        return data, []
    signatures = []
    need(tail.endswith(b"\n"), "tampered", "a note that does not end")
    for line in tail[:-1].decode().split("\n"):
        parts = line.split(" ")
        need(len(parts) == 3 and parts[0] == "\u2014", "tampered", "a line that is no signature")
        raw = b64(parts[2])
        signatures.append((parts[1], raw[:4], raw[4:]))
    return head + b"\n", signatures

def checkpoint(text):
    lines = text.decode().split("\n")
    need(len(lines) >= 4 and lines[-1] == "" and all(lines[:-1]), "tampered", "no checkpoint")
    need(lines[1].isdigit() and str(int(lines[1])) == lines[1], "tampered", "a checkpoint without a size")
    return lines[0], int(lines[1]), b64(lines[2]), lines[3:-1]

# --- tree ----------------------------------------------------------------------------------------------------------------

def node(left, right):
    return sha(b"\x01", left, right)

def peaks_of(leaves, before=(), size=0):
    """Roots of the perfect subtrees, largest first, when leaves come behind a tree of that size with those peaks."""
    peaks = list(before)
    for number, leaf in enumerate(leaves, size + 1):
        peaks.append(leaf)
        while number % 2 == 0:
            number, right = number // 2, peaks.pop()
            peaks.append(node(peaks.pop(), right))
    return peaks

def root_of(leaves):
    peaks = peaks_of(leaves)
    total = peaks.pop() if peaks else sha(b"")
    while peaks:
        total = node(peaks.pop(), total)
    return total

def climb(place, last, first, old, proof):
    """Roots of the old and new tree that a path leads to, or of the new one alone."""
    new = first
    for sibling in proof:
        need(last, "tampered", "a proof that is too long")
        if place & 1 or place == last:
            old, new = node(sibling, old), node(sibling, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = node(new, sibling)
        place, last = place >> 1, last >> 1
    need(last == 0, "tampered", "a proof that is too short")
    return old, new

def consistent(size1, root1, size2, root2, proof):
    if size1 > size2 or size1 == 0:
        return False
    if size1 == size2:
        return not proof and root1 == root2
    place, last = size1 - 1, size2 - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    start, rest = (root1, proof) if place == 0 else (proof[0], proof[1:]) if proof else (b"", [])
    return bool(start) and climb(place, last, start, start, rest) == (root1, root2)

# --- records -------------------------------------------------------------------------------------------------------------

# Fields of each kind: s slot, i number or word, d digest, t text or list.
KINDS = {3: "iiidtt", 4: "dtttts", 5: "dts", 6: "tsi", 7: "ittttdtddsdtddii", 8: "tiisssstiit", 9: "titsdiit", 10: "tiissi",
         11: "tttiststt", 12: "ttttst", 13: "tt", 14: "tti", 15: "ttt", 16: "issi", 17: "iiiddit", 18: "tts", 128: "tt"}
ADVANCE_NOT = (6, 17, 128)

def varint(data, at):
    value = shift = 0
    while data[at] > 127:
        value, shift, at = value | (data[at] & 127) << shift, shift + 7, at + 1
    return value | data[at] << shift, at + 1

def slots(kind, det):
    """Length and digest of each value that a deterministic part names."""
    need(det[:5] == b"aos1" + bytes([kind]), "tampered", "a deterministic part of another kind")
    present, at = varint(det, 37)
    named = {}
    for number, field in enumerate(KINDS[kind]):
        if not present >> number & 1:
            continue
        head, after = varint(det, at) if field != "d" else (32, at)
        if field == "s" and head & 3 == 3:
            named[number], at = named[head >> 2], after
        elif field == "s":
            named[number], at = (head >> 2, det[after:after + 32]), after + 32
        else:
            at = after if field == "i" else after + head
    need(at == len(det) and present >> len(KINDS[kind]) == 0, "tampered", "bytes behind the last field")
    return named

def seal_of(det):
    """Start, end, count, root, digest of the SEAL before it, total and peaks that a SEAL says."""
    present, at = varint(det, 37)
    said = []
    for number, field in enumerate(KINDS[17]):
        value = 0 if field == "i" else b""
        if present >> number & 1 and field == "d":
            value, at = det[at:at + 32], at + 32
        elif present >> number & 1:
            value, at = varint(det, at)
            if field == "t":
                value, at = det[at:at + value], at + value
        said.append(value)
    listed = said.pop()
    need(at == len(det) and len(listed) % 33 == 0 and set(listed[::33]) <= {32}, "tampered", "a SEAL that cannot be read")
    return said + [[listed[n + 1:n + 33] for n in range(0, len(listed), 33)]]

def check_seals(seals, ranges, offsets, leaves):
    """Compares the log's own seals with the records of their ranges that are carried. Returns how many agree, and how many speak of others."""
    within = lambda start, end: next((n for n, (a, b) in enumerate(ranges) if a <= start and end <= b), None)
    before, last = (0, b"", []) if ranges and ranges[0][0] == 0 else None, ()
    agree = beyond = 0
    for offset, digest, det in seals:
        start, end, count, root, named, total, peaks = seal_of(det)
        place, here = f"the SEAL at offset {offset}", within(offset, offset)
        possible = start < end <= offset and count <= total <= 1 << 62 and len(peaks) == bin(total).count("1")
        need(possible, "tampered", f"{place} speaks of no range before it")
        follows = before if before and (before[0] == start or last in ((), (here,))) else None
        if follows:
            size = total - count
            need(follows[:2] == (start, named) and len(follows[2]) == bin(size).count("1"), "tampered", f"{place} does not follow the one before it")
        if within(start, end) is not None:
            mine = leaves[bisect.bisect_left(offsets, start):bisect.bisect_left(offsets, end)]
            need((len(mine), root_of(mine)) == (count, root), "tampered", f"{place} is not of the records of its range")
            if follows:
                need(peaks_of(mine, follows[2], total - count) == peaks, "tampered", f"{place} is of another tree")
            agree += 1
        else:
            beyond += 1
        before, last = (end, digest, peaks), (here,)
    return agree, beyond

def record(header, body):
    """Leaf, history digest, stream, lane and number of cut-off values of a record."""
    kind, record_len = header[12], struct.unpack_from("<I", header, 56)[0]
    need(40 < record_len <= len(body), "tampered", "a record that is cut")
    root = record_len - 40
    stream, det_len = body[root:root + 16], struct.unpack_from("<I", body, root + 32)[0]
    extras = struct.unpack_from("<i", body, root + 36)[0]
    stream_kind, lane = 1, 0
    if extras not in (0, 1):
        place = root + 36 + extras
        need(0 <= place <= root - 21, "tampered", "extras outside the record")
        stream_kind, lane = body[place], struct.unpack_from("<Q", body, place + 5)[0]
    need(struct.unpack_from("<i", body, root + 28)[0] == -(root + 28) and det_len <= root, "tampered", "a record without its part")
    start = b"\x00" + b"aos.leaf.v1".ljust(16, b"\0") + header[12:64]
    det = body[:det_len]
    if kind not in KINDS:
        return sha(start, bytes(32), body), sha(det), (stream_kind, stream), lane, 0
    history, covered, at, cut, last = sha(det), body[det_len:record_len], record_len, 0, 0
    named = slots(kind, det)
    for slot, (length, digest) in sorted(named.items()):
        need(at < len(body) and body[at] >> 3 == slot, "tampered", f"no value in slot {slot}")
        state, begin = body[at] & 7, at
        if state == 0:
            found, at = varint(body, at + 1)
            salt, data, at = body[at:at + 16], body[at + 16:at + 16 + found], at + 16 + found
            holds = found == length and sha(b"aos.value.v1\0\0\0\0", salt, data) == digest and at <= len(body)
            need(holds, "tampered", f"the value in slot {slot} is not the one that its history names")
        elif state == 1:
            at = varint(body, at + 1)[1] + 1
        elif state == 2:
            at += 17
        else:
            need(state == 3, "tampered", "a value in no known state")
            cut, at = cut + 1, at + 1
        covered += bytes([slot << 3]) if state in (0, 3) else body[begin:at]
    need(at == len(body), "tampered", "bytes behind the values")
    return sha(start, history, covered), history, (stream_kind, stream), lane, cut

def frame(data, at, salt):
    need(at + 64 <= len(data), "corrupt", "a frame that is cut")
    header = data[at:at + 64]
    crc, body_crc, body_len = struct.unpack_from("<III", header)
    need(zlib.crc32(header[4:]) == crc, "corrupt", "a frame's header fails its CRC")
    end = at + 64 + (body_len + 15 & ~15)
    padded = data[at + 64:end]
    need(end <= len(data), "tampered", "a frame that ends outside its block")
    need(zlib.crc32(padded) == body_crc, "corrupt", "a frame's body fails its CRC")
    clean = header[13:16] == bytes(3) and header[60:] == bytes(4) and not any(padded[body_len:])
    need(clean and struct.unpack_from("<I", header, 20)[0] == salt and header[12] not in (1, 2), "tampered", "not a frame of this log")
    return header, padded[:body_len], end

def unpacked(stored, raw_len):
    if len(stored) == raw_len:
        return stored
    try:
        from compression import zstd
    except ImportError:
        raise Bad("incomplete", "the archive is compressed, and this Python has no zstd")
    raw = zstd.decompress(stored)
    need(len(raw) == raw_len, "corrupt", "a block unpacks to another length")
    return raw

def log_salt(log_id):
    return struct.unpack("<I", sha(b"aos.salt.v1", log_id)[:4])[0]

# --- the archive ---------------------------------------------------------------------------------------------------------

def archive(path, trust, anchor):
    data = open(path, "rb").read()
    need(len(data) >= 64 and data[:8] == b"AOSGOLD\n", "corrupt", "it is no golden archive")
    need(zlib.crc32(data[:60]) == struct.unpack_from("<I", data, 60)[0], "corrupt", "the header fails its CRC")
    version, flags, stride, log_id, payload, manifest_len, blocks, records, crc = struct.unpack_from("<HHI16sQIIQI", data, 8)
    need((version, flags) == (1, 0), "corrupt", "another version, or flags")
    tree_at = 64 + payload
    manifest_at, notes_at = tree_at + 32 * records, tree_at + 32 * records + manifest_len
    need(notes_at <= len(data), "corrupt", "the file is cut")
    text = data[manifest_at:notes_at]
    need(zlib.crc32(text) == crc, "corrupt", "the manifest fails its CRC")
    salt, at, first, last, leaves, heads, cut = log_salt(log_id), 64, 0, 0, [], {}, 0
    offsets, seals = [], []
    for _ in range(blocks):
        magic, raw_len, stored_len, count, number, crc, head_crc = struct.unpack_from("<4sIIIQII", data, at)
        need(zlib.crc32(data[at:at + 28]) == head_crc, "corrupt", f"the block at byte {at} fails its CRC")
        stored, at = data[at + 32:at + 32 + stored_len], at + 32 + stored_len
        need(magic == b"GBLK" and number == first and at <= tree_at, "corrupt", "blocks that do not follow one another")
        need(crc == (zlib.crc32(stored) if stored_len < raw_len else 0), "corrupt", f"the block that ends at byte {at} fails its CRC")
        raw, place = unpacked(stored, raw_len), 0
        for index in range(first, first + count):
            try:
                header, body, place = frame(raw, place, salt)
                offset, seq = struct.unpack_from("<Q", header, 24)[0], struct.unpack_from("<Q", header, 48)[0]
                need(offset > last, "tampered", f"offset {offset} behind {last}")
                leaf, history, stream, lane, gone = record(header, body)
            except (IndexError, KeyError, struct.error):
                raise Bad("tampered", f"record {index} cannot be read")
            except Bad as bad:
                raise Bad(bad.args[0], f"record {index}: {bad.args[1]}")
            last, cut = offset, cut + gone
            leaves.append(leaf)
            offsets.append(offset)
            if header[12] == 17:
                seals.append((offset, history, body[:struct.unpack_from("<I", body, struct.unpack_from("<I", header, 56)[0] - 8)[0]]))
            count_before, _, _, before = heads.get(stream, (0, 0, 0, b""))
            advances = lane == 0 and header[12] in KINDS and header[12] not in ADVANCE_NOT
            heads[stream] = (count_before + 1, seq, offset, history if advances else before)
        need(place == len(raw), "corrupt", "bytes behind the frames of a block")
        first += count
    need(at == tree_at and first == records, "corrupt", "blocks that do not fill their place")
    manifest = json.loads(text)
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    need(canonical == text and manifest["schema"] == "aos.golden.v1", "tampered", "the manifest is not canonical")
    root = root_of(leaves)
    if root.hex() != manifest["root"]:
        stored = [data[tree_at + 32 * n:tree_at + 32 * n + 32] for n in range(records)]
        wrong = [n for n in range(records) if stored[n] != leaves[n]]
        known = root_of(stored).hex() == manifest["root"] and wrong
        raise Bad("tampered", f"record {wrong[0]} is not the one that was sealed" if known else "the root is another one")
    need(b"".join(leaves) == data[tree_at:manifest_at], "corrupt", "the stored leaves are not those of the records")
    need(manifest["size"] == records and manifest["log_id"] == log_id.hex(), "tampered", "the manifest is of another archive")
    for run in manifest["runs"]:
        expected = (run["records"], run["records"], run["head"], bytes.fromhex(run["history_digest"]))
        need(heads.get((1, bytes.fromhex(run["run"]))) == expected, "tampered", f"run {run['run']} is not as the manifest says")
    agree, beyond = check_seals(seals, manifest["ranges"], offsets, leaves)
    vouching, before, number = set(), bytes(32), 0
    while notes_at < len(data):
        need(data[notes_at:notes_at + 8] == b"AOSNOTE\n" and notes_at + 16 <= len(data), "corrupt", f"no note at byte {notes_at}")
        length, crc = struct.unpack_from("<II", data, notes_at + 8)
        block, notes_at = data[notes_at + 16:notes_at + 16 + length], notes_at + 16 + length
        need(notes_at <= len(data) and zlib.crc32(block) == crc, "corrupt", f"note {number} fails its CRC")
        signed, signatures = note(block)
        origin, size, signed_root, lines = checkpoint(signed)
        need((origin, size, signed_root) == (manifest["origin"], records, root), "tampered", f"note {number} is of another archive")
        said = [line for line in lines if line.split(" ")[0] in ("manifest", "custody")]
        expected = [f"manifest sha256 {sha(text).hex()}", f"custody {number} {before.hex()}"]
        need(said == expected, "tampered", f"note {number} does not follow")
        if trust:
            vouching |= trust.signers(signed, signatures)
        before, number = sha(block), number + 1
    notes = f"{records} records, {len(manifest['runs'])} runs, {cut} values cut off, {agree} seals of the log agree, {beyond} of what is not carried, root {root.hex()}"
    need(trust and len(vouching) >= trust.threshold, "untrusted", f"no key that counts vouches for it; {notes}")
    found = manifest, list(zip(offsets, leaves)), seals
    if not anchor:
        return notes + "; truncation and rollback not checked: no anchor", *found
    text, signatures = note(open(anchor, "rb").read())
    trust.signers(text, signatures)
    origin, size, anchored, _ = checkpoint(text)
    need(origin == manifest["origin"] and size <= records, "incomplete", f"the anchor covers {size} records of {origin}")
    need(root_of(leaves[:size]) == anchored, "tampered", "the anchor is of another history")
    return notes + f"; continues the anchor of {size} records", *found

def pruned(path, archives, trust):
    """PRUNED of a log (pruned.md) beside archives that hold what lies below its pruned point."""
    data = open(path, "rb").read()
    need(len(data) >= 96 and data[:8] == b"AOSPRUN\n" and sha(data[:-32]) == data[-32:], "corrupt", "no PRUNED, or other bytes than its digest is of")
    version, reserved, stride, log_id, required, size = struct.unpack_from("<HHI16sQQ", data, 8)
    need(zlib.crc32(data[:60]) == struct.unpack_from("<I", data, 60)[0], "corrupt", "its header fails its CRC")
    need((version, reserved, required, size) == (1, 0, 0, len(data)) and not any(data[48:60]), "corrupt", "another version, or flags")
    at = 64
    def number():
        nonlocal at
        value, at = varint(data, at)
        return value
    def take(length):
        nonlocal at
        need(at + length <= len(data) - 32, "tampered", "PRUNED ends early")
        at += length
        return data[at - length:at]
    text = lambda: take(number())
    end, _, _, _ = (number() for _ in range(4))
    end = -(-end >> stride) << stride
    total = number()
    peaks, seal = [take(32) for _ in range(bin(total).count("1"))], take(32)
    named = [(text(), take(32), text(), number(), take(32), number(), number()) for _ in range(number())]
    gone = {}
    for _ in range(number()):
        run, after = take(16), number() + at
        names = [text().decode() for _ in range(4)]
        numbers = [number() for _ in range(5)]
        gone[run] = names, numbers, take(32)
        need(at <= after, "tampered", "a row that is too short")
        take(after - at)
        for _ in range(3 * number()):
            number()
    kept, last, salt = {}, 0, log_salt(log_id)
    for _ in range(number()):
        header, body, at = frame(data, at, salt)
        offset = struct.unpack_from("<Q", header, 24)[0]
        leaf, _, stream, _, _ = record(header, body)
        need(last < offset < end and stream[1] not in gone, "tampered", f"a kept record at offset {offset}")
        kept[offset], last = leaf, offset
    need(at == len(data) - 32, "tampered", "bytes behind the kept records")
    held, runs, files = {}, {}, []
    for name in archives:
        _, manifest, found, seals = archive(name, trust, None)
        for at, digest, det in seals:
            said = seal_of(det)
            need(digest != seal or (said[1], said[5], said[6]) == (end, total, peaks), "tampered", f"the SEAL at offset {at} is of another tree")
        need(manifest["log_id"] == log_id.hex(), "tampered", f"{name} is of another log")
        files.append(sha(open(name, "rb").read()))
        held.update((offset, leaf) for offset, leaf in found if offset < end)
        runs.update((bytes.fromhex(run["run"]), run) for run in manifest["runs"])
    order = [held[offset] for offset in sorted(held)]
    missing = [name.decode() for name, digest, *_ in named if digest not in files]
    need(len(order) == total, "incomplete", f"{len(order)} of {total} pruned records are in the archives given" + (f"; not given: {', '.join(missing)}" if missing else ""))
    need(peaks_of(order) == peaks, "tampered", "the archives' records are not the ones that were pruned")
    for offset, leaf in kept.items():
        need(held.get(offset) == leaf, "tampered", f"the record kept at offset {offset} is not the archive's")
    for run, (names, numbers, digest) in gone.items():
        said = runs.get(run)
        if said:
            same = [said[key] for key in ("namespace", "name", "version", "key")] == names and bytes.fromhex(said["history_digest"]) == digest
            same = same and (said["generation"], said["head"], said["records"]) == (numbers[0], numbers[2], numbers[3])
            need(same, "tampered", f"the row of run {run.hex()} is not as the archive says")
    named_runs = sum(run in runs for run in gone)
    return f"pruned below offset {end}: {total} records in the archives, {len(kept)} of them kept, rows of {len(gone)} runs kept, {named_runs} as the archives say"

def proof(path, trust):
    head, _, rest = open(path, "rb").read().partition(b"\n\n")
    lines = head.decode().split("\n")
    text, signatures = note(rest)
    origin, size, root, _ = checkpoint(text)
    if lines[0] == "c2sp.org/tlog-proof@v1":
        log_id = bytes.fromhex(origin[8:40])
        header, body, _ = frame(b64(lines[1][6:]), 0, log_salt(log_id))
        index, path_up = int(lines[2][6:]), [b64(line) for line in lines[3:]]
        leaf, history, stream, _, _ = record(header, body)
        need(index < size and climb(index, size - 1, leaf, leaf, path_up)[1] == root, "tampered", "the event is not in the tree")
        shown = f"the event at offset {struct.unpack_from('<Q', header, 24)[0]} with history digest {history.hex()} is number {index}"
    else:
        need(lines[0] == "aos.consistency.v1", "tampered", "it is no proof")
        old_origin, old_size, old_root, _ = checkpoint(note(b64(lines[1][4:]))[0])
        path_up = [b64(line) for line in lines[2:]]
        holds = old_origin == origin and consistent(old_size, old_root, size, root, path_up)
        need(holds, "tampered", "one checkpoint does not continue the other")
        shown = f"{size} records continue {old_size}"
    need(trust and len(trust.signers(text, signatures)) >= trust.threshold, "untrusted", f"{shown}, but nobody who counts signed the root")
    return f"{shown} of {origin}, {size} records"

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="*")
    for option in ("--trust", "--anchor", "--proof", "--checkpoint", "--pruned"):
        parser.add_argument(option)
    args = parser.parse_args()
    try:
        trust = Trust(args.trust) if args.trust else None
        if args.proof:
            said = proof(args.proof, trust)
        elif args.pruned:
            said = pruned(args.pruned, args.file, trust)
        elif args.checkpoint:
            text, signatures = note(open(args.checkpoint, "rb").read())
            need(trust and len(trust.signers(text, signatures)) >= trust.threshold, "untrusted", "nobody who counts signed it")
            said = "{0}, {1} records".format(*checkpoint(text))
        else:
            if len(args.file) != 1:
                parser.error("one archive")
            said = archive(args.file[0], trust, args.anchor)[0]
    except Bad as bad:
        print(f"{bad.args[0]}: {bad.args[1]}")
        sys.exit({"untrusted": 3, "incomplete": 7}.get(bad.args[0], 5))
    except OSError as why:
        print(f"not judged: {why}")
        sys.exit(6)
    except (IndexError, KeyError, ValueError, TypeError, struct.error) as why:
        print(f"tampered: it cannot be read: {why!r}")
        sys.exit(5)
    print(f"valid: {said}")

main()
