"""MACs that a pSwitch has on another port than before: the flapping that its log would show (TEAM-IPH-7, BCN-7)."""

from __future__ import annotations

import threading
import time

from lab.agents.present import Present
from lab.agents.supervised import supervise
from lab.errors import SystemRefused
from lab.realise.ovs import OpenVSwitch

LOOK_SECONDS = 0.5
IDLE_TIMES = 50
"""It rests so many times as long as a look took: a large table costs no more than a small one."""


class MacMoveAgent:
    """Looks at every pSwitch's table from time to time; a MAC that went to and fro between two looks is not told."""

    def __init__(self, present: Present) -> None:
        self._present = present
        self._tables: dict[str, dict[tuple[int, str], str]] = {}
        self._pause = threading.Event()

    def start(self) -> None:
        supervise("mac moves", self._run, self._present.event)

    def _run(self) -> None:
        while True:
            started = time.monotonic()
            for switch in self._present.topology.physical_switches:
                self._look(switch)
            left = max(LOOK_SECONDS, IDLE_TIMES * (time.monotonic() - started))
            while left > 0:
                self._pause.wait(min(left, LOOK_SECONDS))
                left -= LOOK_SECONDS

    def _look(self, switch: str) -> None:
        (bridge,) = self._present.network.plan.bridges_of(switch)
        ovs: OpenVSwitch = self._present.network.ovs(switch)
        try:
            entries = ovs.mac_table(bridge.name)
        except SystemRefused:  # it has ended, which `status` says
            return
        before, now = self._tables.get(switch, {}), {}
        for port, vlan, mac in entries:
            now[vlan, mac] = bridge.label_of(port)
        self._tables[switch] = now
        for (vlan, mac), port_name in now.items():
            was = before.get((vlan, mac), port_name)
            if was != port_name:
                self._present.event("mac-move", port=f"{switch}:{port_name}", was=was, vlan=vlan, mac=mac)
