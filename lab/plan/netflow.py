"""NetFlow as rows: which frames Open vSwitch looks at (MIR-10, MIR-11).

As on a vSphere Distributed Switch a frame is looked at where it leaves by a port whose port group has NetFlow on; with
internal flows only, when it came from a port of this host too. The port is a client port: what leaves by an uplink is
not reported (a real one can monitor its uplinks by a setting of their own, which the topology file does not have).
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.model import ClientPort, HostSwitch, Netflow, Topology
from lab.plan.clients import client_number
from lab.plan.tables import ADAPTER, MIRROR_OUT
from lab.plan.types import Row

COLLECTOR_SET = 1
EVERY_FRAME = 65535
"""Open vSwitch's probability of one."""


def netflow_of(topology: Topology, part: HostSwitch) -> Netflow | None:
    """The switch's, where a port of this host exports flows."""
    if not part.distributed or not any(port.netflow for port in part.ports):
        return None
    return topology.distributed_switches[part.name].netflow


def sample_action(netflow: Netflow | None, port: ClientPort) -> str:
    """The action that looks at a frame on its way out by this port; empty where its port group has NetFlow off."""
    if netflow is None or not port.netflow:
        return ""
    probability = max(1, round(EVERY_FRAME / max(1, netflow.sampling)))
    number = client_number(port)
    return (
        f"sample(probability={probability},collector_set_id={COLLECTOR_SET},obs_domain_id={netflow.domain},"
        f"obs_point_id={number},sampling_port={number},egress)"
    )


def rows_of(netflow: Netflow | None, port: ClientPort) -> Iterator[Row]:
    """Above the port's own row in the last table before it leaves, when nothing can refuse the frame any more."""
    action = sample_action(netflow, port)
    if netflow is not None and action:
        local = ",reg2=0" if netflow.internal_only else ""
        match = f"reg5={client_number(port):#x}{local}"
        yield Row(ADAPTER, 60, match, f"{action},goto_table:{MIRROR_OUT}", "MIR-10" if local else "NetFlow")
