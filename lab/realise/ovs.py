"""One box's own Open vSwitch: a private ovsdb-server and ovs-vswitchd in a private run directory."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ovs.unixctl.client import UnixctlClient  # type: ignore[import-untyped]

from lab.errors import MachineLacks, SystemRefused
from lab.plan.arping import KNOWN as ARP_KNOWN
from lab.plan.pswitch import LEARNED, SECURED
from lab.plan.types import Bridge, Port, Row
from lab.realise.kernel_rows import for_kernel
from lab.realise.run import forget, run, spawn, wait_until
from lab.realise.sockets import deepen_packet_sockets, send_room, taken_in

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
RESERVED_VLAN = 4095
DATAPATH_TYPE = {"user": "dummy", "kernel": "system"}
_UPCALLS_LOST = re.compile(r"\blost:(\d+)")
# Open vSwitch 3.5 prints a row's cookie in front, 3.1 does not print it.
_COOKIE = r"^(?:cookie=0x[0-9a-f]+, )?"
_LEARNED_ROW = (
    _COOKIE + r"table_id={table}, .*,reg\d+=(?P<vlan>0x[0-9a-f]+|0),dl_(?:src|dst)=(?P<mac>[0-9a-f:]{{17}}),"
    r"actions=load:(?P<port>0x[0-9a-f]+)->"
)
_ARP_ROW = (
    _COOKIE + rf"table_id={ARP_KNOWN}, .*,arp,reg0=(?P<vlan>0x[0-9a-f]+|0),arp_tpa=(?P<ip>[0-9.]+),arp_op=1,"
    r"actions=load:0x(?P<mac>[0-9a-f]+)->"
)
# A flow knows one tag, and the tags behind it are payload: no row looks at them, and so up to two can be put in front.
_FIRST_FRAME = bytes.fromhex("02feffffffff02fefffffffe88b5").ljust(60, b"\0")
_GLOBAL = ("other_config:vlan-limit=1", "other_config:n-handler-threads=1", "other_config:n-revalidator-threads=1")


def make_template(directory: Path) -> Path:
    """An empty database, made once and copied for each box. Raises MachineLacks without Open vSwitch."""
    if not SCHEMA.exists():
        raise MachineLacks(f"{SCHEMA} is missing (Debian package openvswitch-switch)")
    template = directory / "template.db"
    run(["ovsdb-tool", "create", str(template), str(SCHEMA)])
    return template


class OpenVSwitch:
    """Start, program and ask the Open vSwitch of one box. Paths and sockets are all below `directory`."""

    def __init__(self, namespace: int, directory: Path, datapath: str) -> None:
        self.namespace = namespace
        self.directory = directory
        self.datapath = datapath
        self._daemons: list[subprocess.Popen[Any]] = []
        self._plugged_in = False
        self._lost_before = 0
        self.environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "OVS_RUNDIR": str(directory),
            "OVS_DBDIR": str(directory),
            "OVS_LOGDIR": str(directory),
            "OVS_SYSCONFDIR": str(directory),
        }

    def launch(self, template: Path) -> None:
        """Start the two daemons; the box's interfaces need not be there yet."""
        self.directory.mkdir(parents=True)
        shutil.copyfile(template, self.directory / "conf.db")
        quiet = ["-vconsole:off", "-vsyslog:off", "-vfile:info", f"--log-file={self.directory}/ovs.log"]
        database = f"unix:{self.directory}/db.sock"
        self._daemon(
            ["ovsdb-server", f"{self.directory}/conf.db", f"--remote=p{database}",
             f"--unixctl={self.directory}/ovsdb-server.ctl", *quiet]
        )  # fmt: skip
        # Both clients wait a whole second before they try a socket again that was not there at first.
        wait_until(self._listening, f"{self.directory}: ovsdb-server")
        # They would log each flood that leaves its input port out, and each MAC that a full table has no room for.
        usual = ["-vofproto_dpif_xlate:file:err", "-vofproto:file:warn"]
        control = f"--unixctl={self.directory}/vswitchd.ctl"
        self._daemon(["ovs-vswitchd", database, "--enable-dummy", control, *quiet, *usual])

    def plug_in(self, bridges: Sequence[Bridge]) -> None:
        """Bridges and ports there. The switch sends one frame, which makes the socket that it sends all others by;
        while nobody has rows yet it is lost at the next box."""
        self._vsctl(_transaction(bridges, DATAPATH_TYPE[self.datapath]))
        self._plugged_in = True
        port = next(((b, p) for b in bridges for p in b.ports), None)
        if port is not None and self.datapath == "user":
            words = f"in_port=controller,packet={_FIRST_FRAME.hex()},actions=output:{port[1].number}"
            mgmt = f"unix:{self.directory}/{port[0].name}.mgmt"
            run(["ovs-ofctl", "-OOpenFlow14", "packet-out", mgmt, words], env=self.environment)

    def configure(self, bridges: Sequence[Bridge]) -> None:
        """Bridges and ports there, rows loaded; returns when the switch forwards."""
        if not self._plugged_in:
            self.plug_in(bridges)
        if self.datapath == "user":
            deepen_packet_sockets(self._daemons[-1].pid)
        for bridge in bridges:
            self.apply(bridge, (), bridge.rows)

    def add_port(self, bridge: str, port: Port) -> None:
        """An interface that is there becomes a port. Raises SystemRefused."""
        self._vsctl(_port_words(bridge, port))
        if self.datapath == "user":
            deepen_packet_sockets(self._daemons[-1].pid)

    def remove_port(self, bridge: str, port: Port) -> None:
        """Nothing when it is no port (any more). Raises SystemRefused."""
        self._vsctl(["--", "--if-exists", "del-port", bridge, port.interface])

    def _daemon(self, argv: list[str]) -> None:
        child = spawn(
            argv, self.namespace, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self._daemons.append(child)

    def _listening(self) -> bool:
        if self.dead():
            raise SystemRefused(f"ovsdb-server ended at once: {_last_line(self.directory / 'ovs.log')}")
        return (self.directory / "db.sock").exists()

    def send_room(self) -> int | None:
        """Bytes of memory that frames waiting in all of the box's queues may take; None where nothing limits it."""
        return send_room(self._daemons[-1].pid) or None if self.datapath == "user" else None

    def frames_lost(self) -> int:
        """Frames that found no room on their way into the switch since this was last asked: in a packet socket or, in
        the kernel datapath, on the way to ovs-vswitchd, which decides about the first frame of each kind."""
        if self.datapath == "user":
            return taken_in(self._daemons[-1].pid).lost
        lost = sum(map(int, _UPCALLS_LOST.findall(self.appctl("dpctl/show"))))
        since, self._lost_before = lost - self._lost_before, lost
        return since

    def dead(self) -> str | None:
        """The name of a daemon that has ended, or None."""
        for child in self._daemons:
            if child.poll() is not None:
                return str(child.args[0]) if isinstance(child.args, list) else str(child.args)
        return None

    def stop(self) -> None:
        for child in self._daemons:
            child.kill()
            child.wait()
            forget(child)

    def _vsctl(self, words: Iterable[str]) -> str:
        database = f"--db=unix:{self.directory}/db.sock"
        try:
            return run(["ovs-vsctl", "--timeout=30", "--retry", database, *words], env=self.environment)
        except SystemRefused as error:
            dead = self.dead()
            if dead is None:
                raise
            raise SystemRefused(f"{dead} ended at once: {_last_line(self.directory / 'ovs.log')}") from error

    def apply(self, bridge: Bridge, old: Sequence[Row], new: Sequence[Row]) -> None:
        """Turn the rows `old` into `new` as one atomic bundle; rows that stay are not touched."""
        if self.datapath == "kernel":
            old, new = for_kernel(old), for_kernel(new)
        changes = "\n".join(row_changes(old, new))
        if changes:
            mgmt = f"unix:{self.directory}/{bridge.name}.mgmt"
            run(["ovs-ofctl", "-OOpenFlow14", "--bundle", "add-flows", mgmt, "-"], text=changes, env=self.environment)

    def mutate(self, bridge: str, change: str) -> None:
        """One raw `ovs-ofctl add-flows` line (`add ...`, `delete_strict ...`): for tests that break a switch."""
        mgmt = f"unix:{self.directory}/{bridge}.mgmt"
        run(["ovs-ofctl", "-OOpenFlow14", "--bundle", "add-flows", mgmt, "-"], text=change, env=self.environment)

    def appctl(self, *words: str) -> str:
        """Ask ovs-vswitchd: what ovs-appctl does, without starting it. Raises SystemRefused."""
        error, client = UnixctlClient.create(str(self.directory / "vswitchd.ctl"))
        if error:
            raise SystemRefused(f"ovs-vswitchd: {os.strerror(error)}")
        try:
            error, refusal, said = client.transact(words[0], list(words[1:]))
        finally:
            client.close()
        if error or refusal is not None:
            raise SystemRefused(f"ovs-vswitchd: {words[0]}: {(refusal or 'no answer').strip().splitlines()[-1]}")
        return str(said)

    def settle(self) -> None:
        """Until no frame is forwarded any more by rows that were there before."""
        self.appctl("revalidator/wait")

    def trace(self, bridge: str, port: int, frame: bytes) -> str:
        """`ofproto/trace` of exactly these bytes as if they came in on OpenFlow port `port`."""
        return self.appctl("ofproto/trace", "--names", bridge, f"in_port={port}", frame.hex())

    def learned(self, bridge: str, table: int) -> list[tuple[int, int, str]]:
        """(OpenFlow port, VLAN, MAC) of each row that `learn()` has put into this table."""
        rows = self.appctl("bridge/dump-flows", bridge)
        found = re.finditer(_LEARNED_ROW.format(table=table), rows, re.MULTILINE)
        return [(int(row["port"], 16), int(row["vlan"], 0), row["mac"]) for row in found]

    def mac_table(self, bridge: str) -> list[tuple[int, int, str]]:
        """What a pSwitch has learned."""
        return self.learned(bridge, LEARNED)

    def arp_known(self, bridge: str) -> list[tuple[int, str, str]]:
        """(VLAN, address, MAC) of everybody for whom an OTV edge answers ARP."""
        rows = self.appctl("bridge/dump-flows", bridge)
        found = re.finditer(_ARP_ROW, rows, re.MULTILINE)
        return [(int(row["vlan"], 0), row["ip"], int(row["mac"], 16).to_bytes(6, "big").hex(":")) for row in found]

    def secured(self, bridge: str) -> list[tuple[int, int, str]]:
        """What a pSwitch's port security has tied to ports."""
        return self.learned(bridge, SECURED)

    def forget(self, bridge: str, table: int) -> None:
        """Every learned row of this table goes."""
        self.mutate(bridge, f"delete table={table}")

    def drop_counters(self, bridge: str) -> dict[int, int]:
        """Cookie -> frames, over all rows that have a cookie, once the datapath's counters have been read."""
        self.settle()
        mgmt = f"unix:{self.directory}/{bridge}.mgmt"
        counts: dict[int, int] = {}
        dump = run(["ovs-ofctl", "-OOpenFlow14", "dump-flows", mgmt], env=self.environment)
        for cookie, packets in re.findall(r"cookie=0x([0-9a-f]+),.*?n_packets=(\d+)", dump):
            if int(cookie, 16):
                counts[int(cookie, 16)] = counts.get(int(cookie, 16), 0) + int(packets)
        return counts


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return lines[-1] if lines else "it left no log"


def column_words(table: str, record: str, column: str, value: str) -> Iterator[str]:
    """ovs-vsctl's words that set one column (`tag`) or one key of it (`other_config:mac-aging-time`).

    `flow_tables:N` with a number is how many rows table N holds; more are refused.
    """
    name, _, key = column.partition(":")
    if name == "flow_tables":
        yield from ("--", f"--id=@table{key}", "create", "Flow_Table", f"flow_limit={value}", "overflow_policy=refuse")
        value = f"@table{key}"
    yield from ("--", "set", table, record, f"{column}={value}")


def _transaction(bridges: Sequence[Bridge], datapath_type: str) -> Iterator[str]:
    yield from ("--", "set", "Open_vSwitch", ".", *_GLOBAL)
    for bridge in bridges:
        yield from ("--", "add-br", bridge.name, "--", "set", "Bridge", bridge.name)
        yield from (f"datapath_type={datapath_type}", "fail_mode=secure", "other_config:disable-in-band=true")
        yield from ("protocols=OpenFlow10,OpenFlow13,OpenFlow14", f"other_config:datapath-id={bridge.dpid}")
        for column, value in bridge.columns:
            yield from column_words("Bridge", bridge.name, column, value)
        # Open vSwitch's own port of a bridge is no port of a switch: in a VLAN that nothing carries it takes no part.
        yield from ("--", "set", "Port", bridge.name, f"tag={RESERVED_VLAN}")
        for number in range(len(bridge.bonds)):
            yield from _bonded(bridge, number)
        for port in bridge.ports:
            if port.interface not in bridge.bonded:
                yield from _port_words(bridge.name, port)


def _port_words(bridge: str, port: Port) -> Iterator[str]:
    yield from ("--", "add-port", bridge, port.interface, *(f"{key}={value}" for key, value in port.columns))
    yield from ("--", "set", "Interface", port.interface, f"ofport_request={port.number}")


def _bonded(bridge: Bridge, number: int) -> Iterator[str]:
    """One port of several interfaces, each with an OpenFlow number of its own."""
    bond, here = bridge.bonds[number], f"{bridge.dpid}_{number}"
    numbers = {port.interface: port.number for port in bridge.ports}
    handles = [f"@member{here}_{numbers[member]}" for member in bond.members]
    for handle, member in zip(handles, bond.members, strict=True):
        yield from ("--", f"--id={handle}", "create", "Interface", f"name={member}")
        yield f"ofport_request={numbers[member]}"
    yield from ("--", f"--id=@bond{here}", "create", "Port", f"name={bond.name}", f"interfaces=[{','.join(handles)}]")
    yield from (f"{key}={value}" for key, value in bond.columns)
    yield from ("--", "add", "Bridge", bridge.name, "ports", f"@bond{here}")


def row_changes(old: Sequence[Row], new: Sequence[Row]) -> Iterator[str]:
    """`ovs-ofctl add-flows` lines that turn the rows `old` into `new`."""
    before = {(row.table, row.priority, row.match): row for row in old}
    after = {(row.table, row.priority, row.match): row for row in new}
    for key, row in before.items():
        if key not in after:
            match = f",{row.match}" if row.match else ""
            yield f"delete_strict table={row.table},priority={row.priority}{match}"
    for key, row in after.items():
        present = before.get(key)
        if present is None or present.text() != row.text():
            yield f"add {row.text()}"
