#!/usr/bin/env python3
"""Checks an export of an AOS log (`aosctl log export LOG`) without AOS: history digests, chains, values.

    verify.py [EXPORT.jsonl]      exit 0: all holds · exit 1: names the first bad record · reads stdin without a file

What is hashed is laid out in log-v1.md under "Records". Unhashed fields (times, volatile) cannot be checked here.
"""
import base64, hashlib, json, struct, sys

# Tag of each kind, and which of its fields name values.
TAGS = {"OPEN": "open", "DEFINITION": "def 5", "SEED": "seed 2", "CHECKPOINT": "ckpt 1", "START": "start 9",
        "STEP": "step 3 4 5 6", "INTENT": "intent 3", "RESULT": "result 3 4", "DECISION": "decision 4 6",
        "SIGNAL": "signal 4", "FORK": "fork", "JOIN": "join", "TIME": "time", "END": "end 1 2",
        "FOREIGN": "foreign 2", "MARK": "mark"}
ACTIVATED = "STEP INTENT RESULT DECISION SIGNAL FORK JOIN TIME FOREIGN".split()  # field 0 is the activation

def need(holds, why):
    if not holds:
        raise ValueError(why)

def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()

def items(data):
    """Splits fields, or the items of a list: varint length, bytes, and so on."""
    at, found = 0, []
    while at < len(data):
        length = shift = 0
        while data[at] > 127:
            length, shift, at = length | (data[at] & 127) << shift, shift + 7, at + 1
        length, at = length | data[at] << shift, at + 1
        need(at + length <= len(data), "a field is cut")
        found.append(data[at:at + length])
        at += length
    return found

def check(record, heads, seqs, names):
    det, kind, stream = base64.b64decode(record["canonical"], validate=True), record["kind"], record["stream_id"]
    digest, lane = sha(det), (stream, record["lane"])
    need(digest.hex() == record["history_digest"], "its canonical bytes do not have its history digest")
    need(record["seq"] == seqs.get(stream, 0) + 1, f"number {record['seq']} after {seqs.get(stream, 0)} in its stream")
    seqs[stream] = record["seq"]
    tag, *slots = TAGS.get(kind, "unknown").split()
    need(det[:16] == f"aos.{tag}.v1".encode().ljust(16, b"\0"), "its canonical bytes are of another kind")
    head = heads.get(lane, bytes(32) if record["lane"] == 0 else None)
    need(det[16:48] == head, "it does not follow the record before it in its lane")
    if kind not in ("CHECKPOINT", "MARK"):  # these advance no history
        heads[lane] = digest
    fields = items(det[48:])
    need(kind not in ACTIVATED or fields[0].decode() == (record["activation"] or ""), "its activation is another one")
    for branch, item in enumerate(items(fields[1]) if kind == "FORK" else ()):
        root = sha(b"aos.lane.v1", struct.pack("<I", 32), digest, struct.pack("<IQ", 8, branch))
        heads[stream, struct.unpack("<Q", item)[0]] = root
    values = {value["slot"]: value for value in record["values"]}
    need(sorted(values) == [n for n in map(int, slots) if fields[n]], "its values are not those that its history names")
    for slot, value in values.items():
        name = struct.pack("<BQ", {"json": 1, "bytes": 2}[value["kind"]], value["len"]) + bytes.fromhex(value["digest"])
        need(fields[slot] == name, f"value {value['name']} is not the one that its history names")
        names[stream, record["seq"], slot] = name
        if value["stored"] == "here":
            data = base64.b64decode(value["bytes"], validate=True)
            named = struct.pack("<Q", len(data)) + sha(b"aos.value.v1\0\0\0\0", bytes.fromhex(value["salt"]), data)
            need(named == name[1:], f"the bytes of value {value['name']} do not have its digest")
            need("json" not in value or json.loads(data) == value["json"], f"json of value {value['name']} is another one")
        elif value["stored"] == "back":
            there = names.get((stream, value["from_seq"], value["from_slot"]))
            need(there == name, f"value {value['name']} refers to another one")

heads, seqs, names, count, last = {}, {}, {}, 0, "none"
for count, line in enumerate(open(sys.argv[1], "rb") if len(sys.argv) > 1 else sys.stdin.buffer, 1):
    offset = f"unknown, after {last}"
    try:
        offset = json.loads(line)["offset"]
        check(json.loads(line), heads, seqs, names)
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, struct.error) as why:
        sys.exit(f"bad record at offset {offset} (line {count}): {why}")
    last = offset
print(f"{count} records in {len(seqs)} streams: chains and values hold")
