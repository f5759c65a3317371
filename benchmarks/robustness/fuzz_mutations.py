"""What becomes of a file on its way: bytes flipped, cut and spliced, and JSON edited where it hurts, as plans that Hypothesis draws say.

Half of the safetensors files get their hash and their header's length made right again, as an attacker would.
"""

import copy
import json
import math
import struct

from hypothesis import strategies as st
from safetensors.numpy import load

from common.storage.array_files import _digest

LEAVES = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    3,
    100,
    2.5,
    -0.0,
    1e308,
    math.nan,
    math.inf,
    -math.inf,
    10**6,
    10**9,
    10**12,
    2**31,
    2**63,
    2**64,
    10**400,
    "",
    "x",
    "0",
    "\0",
    "a\nb\x1b[2J",
    "../../x",
    "/etc/passwd",
    "os:path",
    "1e999",
    "NaN",
    "none",
    "\ud800",
    "MlpPolicy",
    "CnnPolicy",
    "Policy",
    "Pendulum-v1",
    "CartPole-v1",
    "Box",
    "Dict",
    "Tuple",
    "Discrete",
    "MultiDiscrete",
    "MultiBinary",
    "float64",
    "uint8",
    "O",
    "(9999,9999)f8",
    "F64",
    "I64",
    "BOOL",
    "F8_E4M3",
]
SHAPES = [
    [],
    {},
    [[]],
    [0],
    [-1],
    [1] * 70,
    [10**6, 10**6],
    [2**62, 4],
    [0, 2**63],
    {"a": 1},
    [None],
    ["x", 1],
    [["a", {}]],
]
HEAD, STEP = (
    3,
    8,
)  # bytes of a plan: which files and whether it is made right, then steps of what, in which part, where, how
PLANS = st.binary(min_size=HEAD + STEP, max_size=HEAD + 4 * STEP)
DEPTHS = (3, 50, 400, 3000)
BYTES = ("flip", "cut", "drop", "repeat", "insert", "splice")
NODES = ("leaf", "shape", "lose", "rename", "swap", "wrap", "grow", "deep")


def places(node):
    """Every (container, key) below a JSON value."""
    found, waiting = [], [node]
    while waiting:
        one = waiting.pop()
        for key in list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ():
            found.append((one, key))
            if isinstance(one[key], (dict, list)):
                waiting.append(one[key])
    return found


def edit(root, op, where, what):
    """Edit one place of a JSON value; `where` and `what` are any ints."""
    found = places(root)
    if not found:
        return
    holder, key = found[where % len(found)]
    value = holder[key]
    if op == "leaf":
        holder[key] = LEAVES[what % len(LEAVES)]
    elif op == "shape":
        holder[key] = copy.deepcopy(SHAPES[what % len(SHAPES)])
    elif op == "lose":
        del holder[key]
    elif op == "rename" and isinstance(holder, dict):
        holder[str(LEAVES[what % len(LEAVES)])] = holder.pop(key)
    elif op == "swap":
        other, other_key = found[what % len(found)]
        holder[key] = copy.deepcopy(other[other_key])
    elif op == "wrap":
        holder[key] = [value] if what % 2 else {"kind": "Tuple", "spaces": [value]}
    elif op == "grow" and isinstance(value, int) and not isinstance(value, bool):
        holder[key] = value + (1, -1, 7)[what % 3]
    elif op == "grow" and isinstance(value, list):
        holder[key] = value * (2 + what % 50)
    elif op == "deep":
        holder[key] = RawDeep(DEPTHS[what % len(DEPTHS)])


class RawDeep(str):
    """A place where JSON goes deeper than any encoder writes it: `text` puts it in."""

    def __new__(cls, depth):
        return super().__new__(cls, f"@deep{depth}@")


def text(value):
    """JSON of an edited value, in bytes."""
    found = json.dumps(value)
    for depth in DEPTHS:
        found = found.replace(f'"@deep{depth}@"', "[" * depth + "]" * depth)
    return found.encode()


def bend(data, op, where, what, other):
    """Bytes with one thing done to them at a place; `other` is spliced in."""
    if not data:
        return data
    at, length = where % len(data), 1 + what % 40
    match op:
        case "flip":
            return data[:at] + bytes([data[at] ^ 1 << what % 8]) + data[at + 1 :]
        case "cut":
            return data[:at]
        case "drop":
            return data[:at] + data[at + length :]
        case "repeat":
            return data[:at] + data[at : at + length] * 2 + data[at + length :]
        case "insert":
            return data[:at] + struct.pack("<Q", what * 0x9E3779B97F4A7C15 % 2**64)[: 1 + what % 8] + data[at:]
    start = what % max(1, len(other))
    return data[:at] + other[start : start + length * 8] + data[at + length * 8 :]


def taken_apart(data):
    """(arrays' entries in the header, the metadata, the bytes behind the header) of a safetensors file."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    return header, json.loads(header.pop("__metadata__")["baselines_ppo"])["metadata"], data[8 + length :]


def put_together(entries, inner, body, right, bend_header):
    """A safetensors file; where `right`, with the hash of what it holds and the length of its header."""
    sha256 = "0" * 64
    if right:
        plain = text(entries)
        try:
            sha256 = _digest(load(struct.pack("<Q", len(plain)) + plain + body), json.loads(inner))
        except Exception:  # nothing that has a hash
            right = False
    packed = json.dumps('{"metadata": ' + inner.decode("utf-8", "replace") + f', "sha256": "{sha256}"}}').encode()
    plain = b'{"__metadata__": {"baselines_ppo": ' + packed + b"}, " + text(entries)[1:]
    bent = bend_header(plain)
    return struct.pack("<Q", len(bent if right else plain)) + bent + body


def damaged(files, plan):
    """(index of the file that it was, its bytes now).

    Args:
        files: [bytes], safetensors or JSON.
        plan: one of `PLANS`; all of what is done is read from its bytes, because one draw costs Hypothesis a fifth of ten.
    """
    which, other, right = plan[0] % len(files), files[plan[1] % len(files)], plan[2] % 2 == 0
    steps = []
    for at in range(HEAD, len(plan) - STEP + 1, STEP):
        ops = NODES if plan[at] % 2 else BYTES
        steps.append(
            (
                ops[plan[at] // 2 % len(ops)],
                plan[at + 1] % 4,
                int.from_bytes(plan[at + 2 : at + 5]),
                int.from_bytes(plan[at + 5 : at + STEP]),
            )
        )

    def bent(piece, target):
        for op, place, where, what in steps:
            if op in BYTES and place == target:
                piece = bend(piece, op, where, what, other)
        return piece

    def edited(root, places):
        for op, place, where, what in steps:
            if op in NODES and place in places:
                edit(root, op, where, what)
        return root

    if files[which][:1] == b"{":  # settings
        found = text(edited(json.loads(files[which]), range(4)))
        return which, found if right else bent(bent(found, 0), 1)
    entries, metadata, body = taken_apart(files[which])
    inner, body = bent(text(edited(metadata, (1, 2, 3))), 1), bent(body, 2)
    found = put_together(edited(entries, (0,)), inner, body, right, lambda header: header if right else bent(header, 0))
    return which, found if right else bent(found, 3)
