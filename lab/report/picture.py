"""The datacentre as the talk draws it, nested: machines and pSwitches above, hosts below with their pNICs, switches,
port groups and what is connected to them inside. SVG, laid out here: nothing that one has to untangle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from lab.model import Host, HostSwitch, Machine, Topology
from lab.report.layout import GAP, LINE, PAD, Item, Placed, flowed, stacked, text_width

HOST_WIDTH = 460
PSWITCH_PORT = 16
PNIC = LINE + 4
Anchor = tuple[float, float]


@dataclass(frozen=True)
class Picture:
    """`body` is SVG without its outermost element; `anchors` say where an interface stands: (node or box, interface),
    and (host, switch name) for the middle of a switch."""

    width: float
    height: float
    body: str
    anchors: Mapping[tuple[str, str], Anchor]


STYLE = """
.pic{--line:#6b7785;--ink:#17202a;--paper:#ffffff;--box:#f3f6fa;--group:#e3ebf5;--chip:#ffffff;--phys:#e9e4f5;
font-family:"DejaVu Sans",Verdana,sans-serif;font-size:12px}
@media (prefers-color-scheme:dark){.pic{--line:#8b98a8;--ink:#e6edf3;--paper:#0f151c;--box:#18212b;--group:#22303f;
--chip:#0f151c;--phys:#2a2440}}
.pic text{fill:var(--ink)} .pic .small{font-size:10px} .pic .bold{font-weight:bold}
.pic rect{stroke:var(--line);stroke-width:1} .pic .site{fill:none;stroke-dasharray:6 4}
.pic .chassis{fill:none}
.pic .box{fill:var(--box)} .pic .group{fill:var(--group)} .pic .chip{fill:var(--chip)} .pic .phys{fill:var(--phys)}
.pic .cable{fill:none;stroke:var(--line);stroke-width:1.5}
"""


def picture(topology: Topology) -> Picture:
    """Sites side by side, in file order."""
    return _Drawing(topology).drawn()


def svg(topology: Topology) -> str:
    """A whole SVG document, for a browser or a report."""
    drawn = picture(topology)
    size = f'width="{drawn.width:.0f}" height="{drawn.height:.0f}" viewBox="0 0 {drawn.width:.0f} {drawn.height:.0f}"'
    paper = '<rect width="100%" height="100%" style="fill:var(--paper);stroke:none"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="pic" role="img" {size}><title>{escape(topology.name)}</title>'
        f"<style>{STYLE}</style>{paper}{drawn.body}</svg>\n"
    )


class _Drawing:
    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.anchors: dict[tuple[str, str], Anchor] = {}
        self.shapes: list[str] = []
        self.cables: list[str] = []
        self.ports = _ports(topology)

    def drawn(self) -> Picture:
        sites = list(dict.fromkeys((*self.topology.sites, *(_site_of(self.topology)))))
        columns = [self._site(site) for site in sites]
        whole = flowed(columns, float("inf"), GAP * 2)
        self._put(whole, PAD, PAD)
        self._wire()
        width, height = whole.width + 2 * PAD, whole.height + 2 * PAD
        return Picture(width, height, "".join((*self.cables, *self.shapes)), self.anchors)

    # -- what stands where

    def _site(self, site: str) -> Item:
        topology = self.topology
        switches = [s for s in topology.physical_switches.values() if s.site == site and s.module is None]
        with_hosts = {pnic.switch for host in topology.hosts.values() for pnic in host.pnics.values()}
        with_hosts |= {cable.ends[1] for cable in topology.cables if cable.uplink}
        machines = [m for m in topology.machines.values() if topology.physical_switches[m.switch].site == site]
        above_all = [s for s in switches if s.name not in with_hosts]
        beside = [m for m in machines if above_all and m.switch in with_hosts]  # no cable passes behind a pSwitch
        rows = [
            [_machine(m) for m in machines if m not in beside],
            [*(self._pswitch(s.name) for s in above_all), *map(_machine, beside)],
            [self._pswitch(s.name) for s in switches if s.name in with_hosts],
            list(self._chassis(site)),
            [self._host(h) for h in topology.hosts.values() if h.site == site],
        ]
        hosts = flowed(rows.pop(), float("inf"), GAP * 2)  # side by side: no cable passes behind a host
        wide = max(hosts.width, _widest(rows), HOST_WIDTH)
        above = [flowed(row, wide, GAP * 2) for row in rows if row]
        inside = stacked([*above, hosts], GAP * 7, centred=True)
        size = (inside.width + 2 * PAD, inside.height + LINE + 2 * PAD)
        title = f"site {site}" if site not in ("", "site") else ""
        return Item("site", site, *size, title, (Placed(PAD, LINE + PAD, inside),))

    def _pswitch(self, name: str) -> Item:
        width = max(120, text_width(name) + 2 * PAD, len(self.ports.get(name, ())) * PSWITCH_PORT + 2 * PAD)
        return Item("phys", name, width, LINE * 2 + PAD, name, (), "pSwitch")

    def _chassis(self, site: str) -> Iterator[Item]:
        """Modules side by side, between the pSwitches and the blades; cables are seen through the chassis."""
        modules: dict[str, list[Item]] = {}
        for switch in self.topology.physical_switches.values():
            if switch.module is not None and switch.site == site:
                modules.setdefault(switch.module.chassis, []).append(self._pswitch(switch.name))
        for name, items in modules.items():
            body = flowed(items, float("inf"), GAP * 2)
            title = f"chassis {name}"
            width = max(body.width, text_width(title)) + 2 * PAD
            inside = (Placed((width - body.width) / 2, LINE + PAD, body),)
            yield Item("chassis", name, width, body.height + LINE + 2 * PAD, title, inside, "chassis")

    def _host(self, host: Host) -> Item:
        """Its pNICs stand on its upper edge, where cables come in."""
        titles = {name: f"{name} {pnic.pvnic}" if pnic.pvnic else name for name, pnic in host.pnics.items()}
        chips = [Item("chip", name, text_width(t) + PAD, PNIC, t, (), "pNIC") for name, t in titles.items()]
        pnics = flowed(chips, HOST_WIDTH, GAP)
        parts = [part for (where, _), part in self.topology.host_switches.items() if where == host.name]
        body = stacked([self._switch(part) for part in parts], GAP)
        top = max(pnics.height - PNIC / 2, 0) + LINE + PAD
        width = max(body.width, pnics.width, text_width(host.name)) + 2 * PAD
        inside = (Placed(PAD, -PNIC / 2, pnics), Placed(PAD, top, body))
        return Item("box", host.name, width, body.height + top + PAD, host.name, inside, "host")

    def _switch(self, part: HostSwitch) -> Item:
        groups: dict[str, list[Item]] = {}
        for port in part.ports:
            nic = port.nic
            alone = len(self.topology.vms[nic.owner].nics) == 1 if nic.owner in self.topology.vms else False
            label = nic.owner if alone else nic.label.partition(".")[2] if nic.is_vmk else nic.label
            chip = Item(
                "chip", f"{nic.node} {nic.name}", text_width(label) + PAD, LINE + 4, label, (), "vNIC", port.name
            )
            groups.setdefault(nic.port_group, []).append(chip)
        boxes = [self._group(part, name, chips) for name, chips in groups.items()]
        body = flowed(boxes, HOST_WIDTH, GAP)
        width = max(body.width, text_width(part.name)) + 2 * PAD
        return Item("box", f"{part.host} {part.name}", width, body.height + LINE + 2 * PAD, part.name,
                    (Placed(PAD, LINE + PAD, body),), "switch")  # fmt: skip

    def _group(self, part: HostSwitch, name: str, chips: Sequence[Item]) -> Item:
        policy = next(p for p in part.ports if p.nic.port_group == name).vlan
        title = f"{name}, {policy}"
        body = flowed(chips, HOST_WIDTH - 4 * PAD, GAP)
        width = max(body.width, text_width(title)) + 2 * PAD
        return Item("group", name, width, body.height + LINE + 2 * PAD, title, (Placed(PAD, LINE + PAD, body),))

    # -- on paper

    def _put(self, item: Item, x: float, y: float, host: str = "") -> None:
        if item.role == "host":
            host = item.name
        self._anchor(item, x, y, host)
        if item.style:
            self.shapes.append(shape(item, x, y, host))
        for placed in item.inside:
            self._put(placed.item, x + placed.x, y + placed.y, host)

    def _anchor(self, item: Item, x: float, y: float, host: str) -> None:
        middle = x + item.width / 2
        if item.role == "pNIC":
            self.anchors[host, item.name] = (middle, y - 3)
        elif item.role == "vNIC":
            node, _, interface = item.name.partition(" ")
            self.anchors[node, interface] = (x + item.width, y + item.height / 2)
            self.anchors[host, item.port] = (middle, y - 3)
        elif item.role == "switch":
            self.anchors[host, item.title] = (middle, y + LINE / 2 + 2)
        elif item.role == "machine":
            self.anchors[item.name, "eth0"] = (middle, y + item.height)
        elif item.role == "pSwitch":
            self._pswitch_ports(item, x, y)

    def _pswitch_ports(self, item: Item, x: float, y: float) -> None:
        """Ports to hosts stand in a row at the lower edge, others at the upper one."""
        for ports, edge in zip(_edges(self.topology, item.name, self.ports), (y, y + item.height), strict=True):
            step = item.width / (len(ports) + 1)
            for number, port in enumerate(ports, start=1):
                self.anchors[item.name, port] = (x + step * number, edge)
        self.anchors[item.name, item.name] = (x + item.width / 2, y + item.height / 2)

    def _wire(self) -> None:
        for host in self.topology.hosts.values():
            for pnic in host.pnics.values():
                self._cable((host.name, pnic.name), (pnic.switch, pnic.far_port))
        for machine in self.topology.machines.values():
            self._cable((machine.name, "eth0"), (machine.switch, machine.name))
        for cable in self.topology.cables:
            a, b = cable.ends
            self._cable((a, cable.port_at(a)), (b, cable.port_at(b)))

    def _cable(self, a: tuple[str, str], b: tuple[str, str]) -> None:
        (x1, y1), (x2, y2) = self.anchors[a], self.anchors[b]
        if y1 == y2:  # between neighbours: over the top
            bend = y1 - GAP * 2
            curve = f"M{x1:.1f} {y1:.1f}C{x1:.1f} {bend:.1f} {x2:.1f} {bend:.1f} {x2:.1f} {y2:.1f}"
        else:
            middle = (y1 + y2) / 2
            curve = f"M{x1:.1f} {y1:.1f}C{x1:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {y2:.1f}"
        name = escape(f"{a[0]}:{a[1]} - {b[0]}:{b[1]}")
        self.cables.append(f'<path class="cable" d="{curve}"><title>{name}</title></path>')


def _machine(machine: Machine) -> Item:
    width = max(60, text_width(machine.name) + PAD)
    return Item("chip", machine.name, width, LINE + 10, machine.name, (), "machine")


def _site_of(topology: Topology) -> Iterator[str]:
    yield from (switch.site for switch in topology.physical_switches.values())
    yield from (host.site for host in topology.hosts.values())


def _widest(rows: Sequence[Sequence[Item]]) -> float:
    return max((item.width for row in rows for item in row), default=0)


def _ports(topology: Topology) -> dict[str, list[str]]:
    """pSwitch -> its ports, in the order in which what they lead to is drawn."""
    found: dict[str, list[str]] = {}
    for host in topology.hosts.values():
        for pnic in host.pnics.values():
            found.setdefault(pnic.switch, []).append(pnic.far_port)
    for machine in topology.machines.values():
        found.setdefault(machine.switch, []).append(machine.name)
    for cable in topology.cables:
        for end in cable.ends:
            found.setdefault(end, []).append(cable.port_at(end))
    return found


def _edges(topology: Topology, switch: str, ports: Mapping[str, list[str]]) -> tuple[list[str], list[str]]:
    below = {pnic.far_port for host in topology.hosts.values() for pnic in host.pnics.values() if pnic.switch == switch}
    below |= {cable.port_at(switch) for cable in topology.cables if cable.uplink and cable.ends[1] == switch}
    mine = ports.get(switch, [])
    return [p for p in mine if p not in below], [p for p in mine if p in below]


def shape(item: Item, x: float, y: float, host: str) -> str:
    """SVG of one item; `host` is what it stands in."""
    name = f"{host} {item.name}" if item.role in ("pNIC", "vNIC", "switch") else item.name
    size = f'width="{item.width:.1f}" height="{item.height:.1f}"'
    box = f'<rect class="{item.style}" x="{x:.1f}" y="{y:.1f}" {size} rx="5"/>'
    centred = item.style in ("chip", "phys")
    at = x + item.width / 2 if centred else x + PAD
    anchor = ' text-anchor="middle"' if centred else ""
    base = y + (item.height / 2 + 4 if centred else LINE + 8 if item.role == "host" else LINE)
    weight = ' class="bold"' if item.role in ("host", "pSwitch", "switch") else ""
    text = f'<text x="{at:.1f}" y="{base:.1f}"{anchor}{weight}>{escape(item.title)}</text>' if item.title else ""
    role = item.role or item.style
    return f'<g data-role="{role}" data-name="{escape(name)}"><title>{escape(f"{role} {name}")}</title>{box}{text}</g>'
