"""Frames written as hex: one a line, or as the dumps that `tshark -x`, `xxd` and `hexdump -C` print."""

from __future__ import annotations

import re

from lab.errors import UsageError

_OFFSET = re.compile(r"([0-9a-fA-F]{4,8})(?:: ?|  )")
_HEXDUMP_TEXT = re.compile(r"  \|.{1,16}\|$")
_END = re.compile(r"[0-9a-fA-F]{4,8}")
_IGNORED = str.maketrans("", "", " \t:-.")


def read_hex(text: str) -> list[bytes]:
    """The frames in `text`, in order. Blanks, colons, dashes and dots between digits do not count; `#` to the end of
    a line is a comment. A line that begins with an offset belongs to a dump, and offset 0 begins the next frame;
    any other line is a whole frame. Raises UsageError with the line's number.
    """
    frames: list[bytearray] = []
    in_dump = False
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.rstrip()
        found = _OFFSET.match(line)
        if in_dump and _END.fullmatch(line) and int(line, 16) == len(frames[-1]):
            in_dump = False  # hexdump closes with the offset behind the last byte
        elif in_dump and line == "*":
            raise UsageError(f"line {number}: `*` stands for repeated lines; write the dump with hexdump -v")
        elif found:
            in_dump = _dump_line(frames, number, line, found, in_dump)
        elif digits := line.partition("#")[0].translate(_IGNORED):
            in_dump = False
            frames.append(_octets(digits, number))
    if not frames:
        raise UsageError("no frame in the hex text")
    for frame in frames:
        if len(frame) < 14:
            raise UsageError(f"a frame of {len(frame)} bytes in the hex text: an Ethernet header has 14")
    return [bytes(frame) for frame in frames]


def _dump_line(frames: list[bytearray], number: int, line: str, found: re.Match[str], in_dump: bool) -> bool:
    offset = int(found.group(1), 16)
    rest = line[found.end() :].strip()
    text = _HEXDUMP_TEXT.search(rest)
    digits = rest[: text.start()] if text else re.split(r" {2,}", rest)[0]
    if offset == 0:
        frames.append(bytearray())
    elif not in_dump or offset != len(frames[-1]):
        raise UsageError(f"line {number}: offset {found.group(1)} does not follow the bytes before it")
    frames[-1] += _octets(digits.translate(_IGNORED), number)
    return True


def _octets(digits: str, number: int) -> bytearray:
    try:
        return bytearray.fromhex(digits)
    except ValueError:
        bad = next((c for c in digits if c not in "0123456789abcdefABCDEF"), "")
        what = f"{bad!r} is not a hex digit" if bad else f"{len(digits)} hex digits are not whole bytes"
        raise UsageError(f"line {number}: {what}") from None
