"""esxtop's network panel as values, as JSON and as text: two readings of counters -> rates of every port and uplink."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.model import ClientPort, HostSwitch, PortKey, Topology
from lab.state import State

PORTSET_BITS = 24
FIRST_UPLINK = 2
"""The number of a switch's first uplink; number 1 is the port that an ESX host keeps for itself."""
COLUMNS = (
    "PORT-ID", "USED-BY", "TEAM-PNIC", "DNAME", "PKTTX/s", "MbTX/s", "PKTRX/s", "MbRX/s", "%DRPTX", "%DRPRX",
)  # fmt: skip
BY_ONE_MAC = "loadbalance_srcmac"


@dataclass(frozen=True)
class Counts:
    """What an interface of a host has counted since it was made, as the host sees it: `tx` is what it sent there."""

    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_dropped: int
    tx_dropped: int


@dataclass(frozen=True)
class Reading:
    """Of one host at a moment (ns of a clock that never jumps), by the names of its ports and pNICs."""

    time_ns: int
    counts: Mapping[str, Counts]


@dataclass(frozen=True)
class Sample:
    """Readings by host, and the State that holds with them."""

    state: State
    readings: Mapping[str, Reading]

    def seconds_since(self, before: Sample) -> float:
        """Of the first host; the hosts are read one after another."""
        for host, reading in self.readings.items():
            return (reading.time_ns - before.readings[host].time_ns) / 1e9
        return 0.0


@dataclass(frozen=True)
class Flow:
    """One direction of a port: packets and emulated megabits (10^6) per second, dropped ones in percent of all."""

    packets: float
    megabits: float
    dropped: float


@dataclass(frozen=True)
class Row:
    """`sent` of a client port is what its VM or vmknic sent, of an uplink what left the host by it."""

    host: str
    port_id: int
    used_by: str
    team_pnic: str
    dname: str
    sent: Flow
    received: Flow


def rows_between(topology: Topology, before: Sample, after: Sample) -> tuple[Row, ...]:
    """The rows of esxtop for the time between two samples of the same hosts, each host's switches in file order.

    What is disconnected, or has no counters in one of the samples, has no row.
    """
    rows: list[Row] = []
    index: dict[str, int] = {}
    for part in topology.host_switches.values():
        index[part.host] = index.get(part.host, 0) + 1
        if part.host in after.readings:
            readings = before.readings[part.host], after.readings[part.host]
            rows += _rows_of(part, index[part.host] << PORTSET_BITS, after.state, *readings)
    return tuple(rows)


def _rows_of(part: HostSwitch, base: int, state: State, before: Reading, after: Reading) -> Iterator[Row]:
    seconds = (after.time_ns - before.time_ns) / 1e9
    ports = [(n, name, "-") for n, name in enumerate(part.uplinks, start=FIRST_UPLINK)]
    first = FIRST_UPLINK + len(ports) - 1
    clients = [port for port in part.ports if port.nic.connected]
    ports += [(first + port.number, port.name, team_pnic((part.host, port.name), port, state)) for port in clients]
    for number, name, uplink in ports:
        old, new = before.counts.get(name), after.counts.get(name)
        if old is not None and new is not None:
            out = _flow(new.tx_packets - old.tx_packets, new.tx_bytes - old.tx_bytes, new.tx_dropped - old.tx_dropped,
                        seconds)  # fmt: skip
            into = _flow(new.rx_packets - old.rx_packets, new.rx_bytes - old.rx_bytes, new.rx_dropped - old.rx_dropped,
                         seconds)  # fmt: skip
            # What the host's end of a client's cable receives is what the client sends.
            sent, received = (out, into) if uplink == "-" else (into, out)
            yield Row(part.host, base + number, name, uplink, part.name, sent, received)


def _flow(packets: int, octets: int, dropped: int, seconds: float) -> Flow:
    all_of_them = packets + dropped
    return Flow(packets / seconds, octets * 8 / 1e6 / seconds, 100 * dropped / all_of_them if all_of_them else 0.0)


def team_pnic(key: PortKey, port: ClientPort, state: State) -> str:
    """The uplink that a client port sends on; `all(n)` where its frames are spread over n, or copied to n (BCN-7);
    `void` where there is none. By the source MAC's hash a port's own MAC has one uplink."""
    several = state.copied.get(key) or state.spread.get(key)
    if several is None:
        return state.uplink_of.get(key) or "void"
    if key not in state.copied and port.policy == BY_ONE_MAC and port.lag is None and several:
        octet = int(state.macs.get(key, port.nic.mac).rpartition(":")[2], 16)
        return several[octet % len(several)]
    return f"all({len(several)})" if several else "void"


def what_a_megabit_is(scale: float) -> str:
    """`1 Mb/s here stands for 100 Mb/s (speed_scale 0.01)`; empty when nothing is scaled."""
    return "" if scale == 1 else f"1 Mb/s here stands for {1 / scale:g} Mb/s (speed_scale {scale:g})"


def cells(row: Row) -> tuple[str, ...]:
    """As text, in the order of COLUMNS; megabits as emulated."""
    rates = (row.sent.packets, row.sent.megabits, row.received.packets, row.received.megabits, row.sent.dropped,
             row.received.dropped)  # fmt: skip
    return (str(row.port_id), row.used_by, row.team_pnic, row.dname, *(f"{rate:.2f}" for rate in rates))


def as_json(lab: str, rows: Sequence[Row], seconds: float, scale: float) -> dict[str, Any]:
    """`mb...` are megabits per second as emulated, `nominal_mb...` what they stand for."""
    return {
        "schema": 1,
        "lab": lab,
        "seconds": round(seconds, 3),
        "speed_scale": scale,
        "ports": [
            {
                "host": row.host,
                "port_id": row.port_id,
                "used_by": row.used_by,
                "team_pnic": row.team_pnic,
                "dname": row.dname,
                "pkttx_per_s": row.sent.packets,
                "mbtx_per_s": row.sent.megabits,
                "nominal_mbtx_per_s": row.sent.megabits / scale,
                "pktrx_per_s": row.received.packets,
                "mbrx_per_s": row.received.megabits,
                "nominal_mbrx_per_s": row.received.megabits / scale,
                "drptx_percent": row.sent.dropped,
                "drprx_percent": row.received.dropped,
            }
            for row in rows
        ],
    }
