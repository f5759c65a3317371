"""Damages files: flips, cuts and splices bytes and edits JSON, following plans that Hypothesis draws.

Half of the safetensors files get a valid hash and header length afterwards, as an attacker would do.
"""

import copy
import json
import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

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
HEAD = 3  # first bytes of a plan: file, second file, whether the hash is made valid
STEP = 8  # bytes of each step: operation, part of the file, position, argument
PLANS = st.binary(min_size=HEAD + STEP, max_size=HEAD + 4 * STEP)
DEPTHS = (3, 50, 400, 3000)
BYTE_OPERATIONS = ("flip", "cut", "drop", "repeat", "insert", "splice")
JSON_OPERATIONS = ("leaf", "shape", "lose", "rename", "swap", "wrap", "grow", "deep")


def all_places(root: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    found, remaining = [], [root]
    while remaining:
        node = remaining.pop()
        for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            found.append((node, key))
            if isinstance(node[key], (dict, list)):
                remaining.append(node[key])
    return found


def edit_json(root: Any, op: str, position: int, argument: int) -> None:
    """Apply one operation to one place of a JSON value; `position` and `argument` are any integers."""
    found = all_places(root)
    if not found:
        return
    container, key = found[position % len(found)]
    value = container[key]
    if op == "leaf":
        container[key] = LEAVES[argument % len(LEAVES)]
    elif op == "shape":
        container[key] = copy.deepcopy(SHAPES[argument % len(SHAPES)])
    elif op == "lose":
        del container[key]
    elif op == "rename" and isinstance(container, dict):
        container[str(LEAVES[argument % len(LEAVES)])] = container.pop(key)
    elif op == "swap":
        other, other_key = found[argument % len(found)]
        container[key] = copy.deepcopy(other[other_key])
    elif op == "wrap":
        container[key] = [value] if argument % 2 else {"kind": "Tuple", "spaces": [value]}
    elif op == "grow" and isinstance(value, int) and not isinstance(value, bool):
        container[key] = value + (1, -1, 7)[argument % 3]
    elif op == "grow" and isinstance(value, list):
        container[key] = value * (2 + argument % 50)
    elif op == "deep":
        container[key] = DeepPlaceholder(DEPTHS[argument % len(DEPTHS)])


class DeepPlaceholder(str):
    """Stands for JSON that is nested deeper than an encoder writes; `encode_json` replaces it."""

    def __new__(cls, depth: int) -> "DeepPlaceholder":
        return super().__new__(cls, f"@deep{depth}@")


def encode_json(value: Any) -> bytes:
    """JSON of an edited value."""
    text = json.dumps(value)
    for depth in DEPTHS:
        text = text.replace(f'"@deep{depth}@"', "[" * depth + "]" * depth)
    return text.encode()


def edit_bytes(data: bytes, op: str, position: int, argument: int, other: bytes) -> bytes:
    """Apply one operation to bytes; a splice inserts a part of `other`."""
    if not data:
        return data
    at, length = position % len(data), 1 + argument % 40
    match op:
        case "flip":
            return data[:at] + bytes([data[at] ^ 1 << argument % 8]) + data[at + 1 :]
        case "cut":
            return data[:at]
        case "drop":
            return data[:at] + data[at + length :]
        case "repeat":
            return data[:at] + data[at : at + length] * 2 + data[at + length :]
        case "insert":
            return data[:at] + struct.pack("<Q", argument * 0x9E3779B97F4A7C15 % 2**64)[: 1 + argument % 8] + data[at:]
    start = argument % max(1, len(other))
    return data[:at] + other[start : start + length * 8] + data[at + length * 8 :]


def split_safetensors(data: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """(entries of the arrays in the header, metadata, bytes after the header) of a safetensors file."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    return header, json.loads(header.pop("__metadata__")["baselines_ppo"])["metadata"], data[8 + length :]


def join_safetensors(
    entries: dict[str, Any], metadata: bytes, body: bytes, valid: bool, edit_header: Callable[[bytes], bytes]
) -> bytes:
    """Build a safetensors file.

    Args:
        entries: of the arrays in the header.
        metadata: JSON.
        body: bytes after the header.
        valid: write the correct hash, if there is one, and the correct length of the header.
        edit_header: applied to the header.
    """
    sha256 = "0" * 64
    if valid:
        plain = encode_json(entries)
        try:
            sha256 = _digest(load(struct.pack("<Q", len(plain)) + plain + body), json.loads(metadata))
        except Exception:  # the content has no hash
            valid = False
    text = metadata.decode("utf-8", "replace")
    packed = json.dumps('{"metadata": ' + text + f', "sha256": "{sha256}"}}').encode()
    plain = b'{"__metadata__": {"baselines_ppo": ' + packed + b"}, " + encode_json(entries)[1:]
    header = edit_header(plain)
    return struct.pack("<Q", len(header if valid else plain)) + header + body


def parse_steps(plan: bytes) -> list[tuple[str, int, int, int]]:
    """[(operation, part of the file, position, argument)] of a plan."""
    steps = []
    for at in range(HEAD, len(plan) - STEP + 1, STEP):
        operations = JSON_OPERATIONS if plan[at] % 2 else BYTE_OPERATIONS
        op = operations[plan[at] // 2 % len(operations)]
        position, argument = int.from_bytes(plan[at + 2 : at + 5]), int.from_bytes(plan[at + 5 : at + STEP])
        steps.append((op, plan[at + 1] % 4, position, argument))
    return steps


def damage(files: Sequence[bytes], plan: bytes) -> tuple[int, bytes]:
    """(index of the damaged file, its new content).

    Args:
        files: safetensors or JSON.
        plan: drawn from `PLANS`. All choices are read from its bytes: one draw takes a fifth of the time of ten.
    """
    index, other, valid = plan[0] % len(files), files[plan[1] % len(files)], plan[2] % 2 == 0
    steps = parse_steps(plan)

    def edited_bytes(data: bytes, part: int) -> bytes:
        for op, step_part, position, argument in steps:
            if op in BYTE_OPERATIONS and step_part == part:
                data = edit_bytes(data, op, position, argument, other)
        return data

    def edited_json(root: Any, parts: Sequence[int]) -> Any:
        for op, step_part, position, argument in steps:
            if op in JSON_OPERATIONS and step_part in parts:
                edit_json(root, op, position, argument)
        return root

    if files[index][:1] == b"{":  # config.json
        content = encode_json(edited_json(json.loads(files[index]), range(4)))
        return index, content if valid else edited_bytes(edited_bytes(content, 0), 1)
    entries, metadata, body = split_safetensors(files[index])
    inner, body = edited_bytes(encode_json(edited_json(metadata, (1, 2, 3))), 1), edited_bytes(body, 2)

    def edit_header(header: bytes) -> bytes:
        return header if valid else edited_bytes(header, 0)

    content = join_safetensors(edited_json(entries, (0,)), inner, body, valid, edit_header)
    return index, content if valid else edited_bytes(content, 3)
