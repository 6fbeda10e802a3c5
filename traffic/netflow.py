"""Flow records as datagrams: IPFIX as Open vSwitch writes it, read; NetFlow v5 and IPFIX as a vSphere host sends them.

A record holds addresses, ports and counts, and no byte of what was carried (MIR-11).
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

V5, IPFIX = 5, 10
V5_MOST, IPFIX_MOST = 30, 15
"""Records that one datagram holds, within an Ethernet frame whatever their addresses."""
UPLINK, ACCESS = 1, 2
"""What kind of port a flow came in by or left by, in VMware's own fields."""

_VMWARE = 6876
_VARIABLE, _ENTERPRISE = 0xFFFF, 0x8000
_OCTETS, _PACKETS, _PROTOCOL, _TOS, _SRC_PORT, _DST_PORT = 1, 2, 4, 5, 7, 11
_SRC4, _DST4, _SRC6, _DST6, _IN, _OUT, _NAME, _TTL = 8, 12, 27, 28, 10, 14, 82, 192
_ICMP_TYPES, _ICMP_CODES = (176, 178), (177, 179)
_START_DELTA, _END_DELTA = 158, 159
_V5_HEAD, _V5_RECORD = struct.Struct("!HHIIIIBBH"), struct.Struct("!4s4s4sHHIIIIHHBBBBHHBBH")
_COMMON = struct.Struct("!QQQQHHIIBBBBBHH")
_TEMPLATE = (
    (_OCTETS, 8), (_PACKETS, 8), (152, 8), (153, 8), (_SRC_PORT, 2), (_DST_PORT, 2), (_IN, 4), (_OUT, 4),
    (_PROTOCOL, 1), (136, 1), (_TOS, 1), (53, 1), (61, 1), (_ENTERPRISE | 890, 2), (_ENTERPRISE | 888, 2),
)  # fmt: skip
_TEMPLATE4, _TEMPLATE6 = 256, 257
_EGRESS = 1


class Ended(IntEnum):
    """Why a flow is reported, in IPFIX's numbers."""

    IDLE = 1
    ACTIVE = 2


@dataclass(frozen=True, slots=True)
class FlowKey:
    """What makes frames one flow. Addresses are packed; `input` and `output` are port numbers of the switch, 0 for one
    that is not known. For ICMP `dst_port` is type * 256 + code, as NetFlow has it."""

    src: bytes
    dst: bytes
    protocol: int
    src_port: int
    dst_port: int
    tos: int
    input: int
    output: int


@dataclass(slots=True)
class Flow:
    """Counts of one flow; octets are those of IP packets. Times are nanoseconds since the epoch."""

    packets: int
    octets: int
    first_ns: int
    last_ns: int
    ttl: int = 0

    def add(self, more: Flow) -> None:
        self.packets += more.packets
        self.octets += more.octets
        self.first_ns = min(self.first_ns, more.first_ns)
        self.last_ns = max(self.last_ns, more.last_ns)
        self.ttl = max(self.ttl, more.ttl)


@dataclass(frozen=True, slots=True)
class Report:
    """A flow as it is sent. `kinds`: UPLINK or ACCESS of the ports that it came in by and left by."""

    key: FlowKey
    flow: Flow
    ended: Ended
    kinds: tuple[int, int] = (ACCESS, ACCESS)


@dataclass(frozen=True, slots=True)
class Sample:
    """One record of Open vSwitch: `key.input` and `key.output` are 0 there, the ports come by their names."""

    key: FlowKey
    flow: Flow
    came_by: str
    leaves_by: str


class IpfixReader:
    """Reads what one Open vSwitch sends, message by message; it remembers the templates."""

    def __init__(self) -> None:
        self._templates: dict[int, list[tuple[int, int]]] = {}

    def samples(self, message: bytes, now_ns: int) -> list[Sample]:
        """Of a message that has come just now: its times count back from there. Frames that are not IP are left out.

        Raises ValueError for what is no IPFIX; sets of a template that was not sent yet are skipped.
        """
        found: list[Sample] = []
        try:
            version, length = struct.unpack_from("!HH", message)
            if version != IPFIX or not 16 <= length <= len(message):
                raise ValueError("no IPFIX message")
            for number, body in _sets(message[16:length]):
                if number == 2:
                    self._learn(body)
                for fields in self._records(number, body):
                    sample = _sample(fields, now_ns)
                    found += [sample] if sample else []
        except (struct.error, IndexError) as error:
            raise ValueError("an IPFIX message that is not whole") from error
        return found

    def _learn(self, body: bytes) -> None:
        at = 0
        while at + 4 <= len(body):
            number, count = struct.unpack_from("!HH", body, at)
            at += 4
            fields = []
            for _ in range(count):
                kind, length = struct.unpack_from("!HH", body, at)
                at += 8 if kind & _ENTERPRISE else 4
                fields.append((kind, length))
                if at > len(body):
                    raise ValueError("an IPFIX template that is not whole")
            if number < _TEMPLATE4:
                raise ValueError("an IPFIX template with a number that is none")
            self._templates[number] = fields

    def _records(self, number: int, body: bytes) -> Iterator[list[tuple[int, bytes]]]:
        template = self._templates.get(number, [])
        least = sum(1 if length == _VARIABLE else length for _, length in template)
        at = 0
        while template and least and at + least <= len(body):
            fields = []
            for kind, length in template:
                if length == _VARIABLE:
                    length, at = body[at], at + 1
                    if length == 255:
                        length, at = int.from_bytes(body[at : at + 2], "big"), at + 2
                fields.append((kind, body[at : at + length]))
                at += length
            if at > len(body):
                raise ValueError("an IPFIX record that is not whole")
            yield fields


def _sets(body: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(body):
        number, length = struct.unpack_from("!HH", body, at)
        if length < 4:
            raise ValueError("an IPFIX set that is not whole")
        yield number, body[at + 4 : at + length]
        at += length


def _sample(fields: Sequence[tuple[int, bytes]], now_ns: int) -> Sample | None:
    values: dict[int, bytes] = {}
    names = {_IN: "", _OUT: ""}
    side = _IN
    for kind, value in fields:
        side = kind if kind in names else side
        if kind == _NAME:
            names[side] = value.decode(errors="replace")
        values.setdefault(kind, value)
    src, dst = (values.get(four, values.get(six, b"")) for four, six in ((_SRC4, _SRC6), (_DST4, _DST6)))
    if len(src) != len(dst) or len(src) not in (4, 16):
        return None

    def number(*kinds: int) -> int:
        return next((int.from_bytes(values[kind], "big") for kind in kinds if kind in values), 0)

    to_port = number(_DST_PORT) or number(*_ICMP_TYPES) << 8 | number(*_ICMP_CODES)
    key = FlowKey(src, dst, number(_PROTOCOL), number(_SRC_PORT), to_port, number(_TOS), 0, 0)
    first, last = (now_ns - number(delta) * 1000 for delta in (_START_DELTA, _END_DELTA))
    flow = Flow(number(_PACKETS), number(_OCTETS), first, last, number(_TTL))
    return Sample(key, flow, names[_IN], names[_OUT])


# -- writing


@dataclass
class Exporter:
    """Numbers datagrams as the format wants. `version` is V5 or IPFIX; `started_ns` when the switch began to count;
    one of `sampling` frames was looked at; `domain` is the observation domain (v5: the engine, its low byte)."""

    version: int
    domain: int = 0
    sampling: int = 0
    started_ns: int = 0
    sequence: int = field(default=0, init=False)

    def datagrams(self, reports: Sequence[Report], now_ns: int) -> Iterator[bytes]:
        """NetFlow v5 has no room for IPv6: such flows are left out there."""
        if self.version == V5:
            reports = [report for report in reports if len(report.key.src) == 4]
        most = V5_MOST if self.version == V5 else IPFIX_MOST
        for begin in range(0, len(reports), most):
            some = reports[begin : begin + most]
            yield self._v5(some, now_ns) if self.version == V5 else self._ipfix(some, now_ns)
            self.sequence = (self.sequence + len(some)) & 0xFFFFFFFF

    def _v5(self, reports: Sequence[Report], now_ns: int) -> bytes:
        seconds, rest = divmod(now_ns, 10**9)
        # Two bits say how frames were chosen (2: at random), fourteen hold the interval.
        sampling = 2 << 14 | min(self.sampling, 0x3FFF) if self.sampling > 1 else 0
        head = _V5_HEAD.pack(
            V5, len(reports), self._uptime(now_ns), seconds & 0xFFFFFFFF, rest, self.sequence, 0, self.domain & 0xFF,
            sampling,
        )  # fmt: skip
        return head + b"".join(map(self._v5_record, reports))

    def _v5_record(self, report: Report) -> bytes:
        key, flow = report.key, report.flow
        return _V5_RECORD.pack(
            key.src, key.dst, bytes(4), key.input & 0xFFFF, key.output & 0xFFFF, flow.packets & 0xFFFFFFFF,
            flow.octets & 0xFFFFFFFF, self._uptime(flow.first_ns), self._uptime(flow.last_ns), key.src_port,
            key.dst_port, 0, 0, key.protocol, key.tos, 0, 0, 0, 0, 0,
        )  # fmt: skip

    def _uptime(self, time_ns: int) -> int:
        return max(0, time_ns - self.started_ns) // 10**6 & 0xFFFFFFFF

    def _ipfix(self, reports: Sequence[Report], now_ns: int) -> bytes:
        body = _templates()
        for number, size in ((_TEMPLATE4, 4), (_TEMPLATE6, 16)):
            records = b"".join(_ipfix_record(report) for report in reports if len(report.key.src) == size)
            body += struct.pack("!HH", number, len(records) + 4) + records if records else b""
        head = struct.pack("!HHIII", IPFIX, len(body) + 16, now_ns // 10**9 & 0xFFFFFFFF, self.sequence, self.domain)
        return head + body


def _templates() -> bytes:
    """With every message: a collector that starts late, or has lost one, can read the next."""
    told = b""
    for number, addresses in ((_TEMPLATE4, ((_SRC4, 4), (_DST4, 4))), (_TEMPLATE6, ((_SRC6, 16), (_DST6, 16)))):
        fields = (*addresses, *_TEMPLATE)
        told += struct.pack("!HH", number, len(fields))
        for kind, length in fields:
            told += struct.pack("!HH", kind, length) + (struct.pack("!I", _VMWARE) if kind & _ENTERPRISE else b"")
    return struct.pack("!HH", 2, len(told) + 4) + told


def _ipfix_record(report: Report) -> bytes:
    key, flow = report.key, report.flow
    first, last = flow.first_ns // 10**6, flow.last_ns // 10**6
    return key.src + key.dst + _COMMON.pack(
        flow.octets, flow.packets, first, last, key.src_port, key.dst_port, key.input, key.output, key.protocol,
        report.ended, key.tos, flow.ttl, _EGRESS, *report.kinds,
    )  # fmt: skip


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed
