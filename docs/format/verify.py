#!/usr/bin/env python3
"""Checks an export of an AOS log (`aosctl log export LOG`) without AOS: history digests, chains, values.

    verify.py [EXPORT.jsonl]      exit 0: all holds · exit 1: names the first bad record · reads stdin without a file

What is hashed is laid out in log-v1.md under "Records". Unhashed fields (times, volatile) cannot be checked here.
"""
import base64, hashlib, json, struct, sys

# Number and fields of each kind: s slot, i number or word, d digest, t text or list.
KINDS = {"OPEN": "3 iiidtt", "DEFINITION": "4 dtttts", "SEED": "5 dts", "CHECKPOINT": "6 tsi",
         "START": "7 ittttdtddsdtddii", "STEP": "8 tiisssstiit", "INTENT": "9 titsdiit", "RESULT": "10 tiissi",
         "DECISION": "11 tttiststt", "SIGNAL": "12 ttttst", "FORK": "13 tt", "JOIN": "14 tti", "TIME": "15 ttt",
         "END": "16 issi", "SEAL": "17 iiiddit", "FOREIGN": "18 tts", "MARK": "128 tt"}
ACTIVATED = "STEP INTENT RESULT DECISION SIGNAL FORK JOIN TIME FOREIGN".split()  # field 0 is the activation

def need(holds, why):
    if not holds:
        raise ValueError(why)

def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()

def varint(data, at):
    value = shift = 0
    while data[at] > 127:
        value, shift, at = value | (data[at] & 127) << shift, shift + 7, at + 1
    need(data[at] or not shift, "a number is not in its shortest form")
    return value | data[at] << shift, at + 1

def cut(data, at, length):
    need(at + length <= len(data), "a field is cut")
    return data[at:at + length], at + length

def items(data):
    """Splits a list: varint length, bytes, and so on."""
    at, found = 0, []
    while at < len(data):
        item, at = cut(data, *reversed(varint(data, at)))
        found.append(item)
    return found

def fields_of(types, data):
    """Bytes of each field, b"" where it is left out; the name of a value for a slot."""
    present, at = varint(data, 0)
    need(present >> len(types) == 0, "it has fields that its kind does not have")
    found, named = [], {}
    for number, kind in enumerate(types):
        field, start = b"", at
        if present >> number & 1:
            head, at = varint(data, at) if kind != "d" else (0, at)
            if kind == "s" and head & 3 == 3:
                need(head >> 2 in named, "a slot is the same as none")
                field = named[head >> 2]
            elif kind == "s":
                field, at = cut(data, start, at - start + 32)
                need(head & 3 and field not in named.values(), "a slot repeats an earlier one, or is of unknown kind")
                named[number] = field
            elif kind == "i":
                field = data[start:at]
            else:
                field, at = cut(data, at, 32 if kind == "d" else head)
            need(field, "an empty field is not left out")
        found.append(field)
    need(at == len(data), "bytes follow its last field")
    return found

def check(record, heads, seqs, names):
    det, kind, stream = base64.b64decode(record["canonical"], validate=True), record["kind"], record["stream_id"]
    digest, lane = sha(det), (stream, record["lane"])
    need(digest.hex() == record["history_digest"], "its canonical bytes do not have its history digest")
    need(record["seq"] == seqs.get(stream, 0) + 1, f"number {record['seq']} after {seqs.get(stream, 0)} in its stream")
    seqs[stream] = record["seq"]
    number, types = KINDS.get(kind, "0 ").split(" ")
    need(det[:5] == b"aos1" + bytes([int(number)]), "its canonical bytes are of another kind")
    head = heads.get(lane, bytes(32) if record["lane"] == 0 else None)
    need(det[5:37] == head, "it does not follow the record before it in its lane")
    if kind not in ("CHECKPOINT", "SEAL", "MARK"):  # these advance no history
        heads[lane] = digest
    fields = fields_of(types, det[37:])
    need(kind not in ACTIVATED or fields[0].decode() == (record["activation"] or ""), "its activation is another one")
    for branch, item in enumerate(items(fields[1]) if kind == "FORK" else ()):
        root = sha(b"aos.lane.v1", struct.pack("<I", 32), digest, struct.pack("<IQ", 8, branch))
        heads[stream, struct.unpack("<Q", item)[0]] = root
    values = {value["slot"]: value for value in record["values"]}
    need(sorted(values) == [n for n, t in enumerate(types) if t == "s" and fields[n]], "its values are not those that its history names")
    for slot, value in values.items():
        head, digest_at = varint(fields[slot], 0)
        named = {1: "json", 2: "bytes"}[head & 3], head >> 2, fields[slot][digest_at:].hex()
        need(named == (value["kind"], value["len"], value["digest"]), f"value {value['name']} is not the one that its history names")
        name = fields[slot]
        names[stream, record["seq"], slot] = name
        if value["stored"] == "here":
            data = base64.b64decode(value["bytes"], validate=True)
            hashed = sha(b"aos.value.v1\0\0\0\0", bytes.fromhex(value["salt"]), data).hex()
            need((len(data), hashed) == named[1:], f"the bytes of value {value['name']} do not have its digest")
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
