"""A vMotion with every wire captured: where could somebody have read the guest's memory?"""

from __future__ import annotations

from lab.answers.campaign import campaign
from lab.answers.clear import read_in_clear
from lab.client import LabClient
from lab.observe.sightings import PointMap
from lab.report.clear import ClearReport


def vmotion(client: LabClient, vm: str, host: str, watch: bool = True) -> ClearReport:
    """Move it. With `watch`, everything is captured meanwhile, when the guest has a marker in its memory.

    Raises UsageError for what vSphere refuses, SystemRefused, CannotTell (the VM has moved, and the capture lost
    frames).
    """
    if not watch or vm not in client.topology.vms or not client.ask("guest_tokens", vm=vm):
        return ClearReport(client.ask("vmotion", vm=vm, host=host), None)
    kernels = {f"{name}-vmk" for name in (client.topology.vms[vm].host, host) if name in client.topology.hosts}
    points = PointMap.of(client.plan)
    # Its own ports are not captured: a capture that has to follow them would keep the VM out of reach for longer.
    own = {(nic.host, nic.port) for nic in client.topology.vms[vm].nics}
    with campaign(client, kernels & set(client.plan.node_named), without=own) as running:
        done = client.ask("vmotion", vm=vm, host=host)
        running.settle()
        running.stop()
        tokens = {bytes.fromhex(token) for token in done["tokens"]}
        sender = (f"{done['source']}-vmk", done["adapters"][0][0].partition(".")[2])
        return ClearReport(done, tuple(read_in_clear(points, running, tokens, sender)))
