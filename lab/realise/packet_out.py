"""Frames that a switch itself sends."""

from __future__ import annotations

from collections.abc import Sequence

from lab.realise.ovs import OpenVSwitch
from lab.realise.run import run


def packet_out(ovs: OpenVSwitch, bridge: str, frame: bytes, ports: Sequence[int]) -> None:
    """Send `frame` out of each of these OpenFlow ports, past every row; a port that is named twice sends it twice.
    Raises SystemRefused."""
    if not ports:
        return
    actions = ",".join(f"output:{port}" for port in ports)
    words = f"in_port=controller,packet={frame.hex()},actions={actions}"
    mgmt = f"unix:{ovs.directory}/{bridge}.mgmt"
    run(["ovs-ofctl", "-OOpenFlow14", "packet-out", mgmt, words], env=ovs.environment)
