"""Changes of policy on a running lab, one at a time: edit, read again, compile, one bundle for each switch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.agents.present import Present
from lab.agents.watch import Watch
from lab.realise.difference import BridgeChange
from lab.topology import warnings
from lab.topology.edit import Edit, Edition, edits_of


@dataclass(frozen=True)
class Done:
    """`version`: how many edits the topology has now; `queues`: interfaces that have other rates now; `warnings`: those
    that it did not have before."""

    version: int
    changes: tuple[BridgeChange, ...]
    warnings: tuple[str, ...]
    queues: tuple[str, ...] = ()


class PolicyEditor:
    """Keeps the document that the present topology was read from, and every edit since the lab was started."""

    def __init__(self, present: Present, watch: Watch, edition: Edition) -> None:
        self._present = present
        self._watch = watch
        self._edition = edition
        self._edits: list[Edit] = []

    def edits(self, after: int) -> list[Edit]:
        """From edit number `after` on: whoever has the file's text has the present topology with them."""
        with self._present.lock:
            return self._edits[after:]

    def set(self, what: str, settings: Mapping[str, Any]) -> Done:
        """All settings as one change. Raises UsageError for what is wrong with them, SystemRefused; nothing is changed
        then."""
        with self._present.lock:
            edits = edits_of(self._edition, what, settings)
            edition = self._edition.with_edits(edits)
            before = self._edition.topology
            changes = self._present.intend(edition.topology, what=what, settings=dict(settings))
            self._present.network.settle({change.box for change in changes})
            self._edition = edition
            self._edits += edits
            self._watch.catch_up(whole=False)  # a vNIC that was disconnected has no carrier any more
            known = set(warnings(before))
            fresh = tuple(line for line in warnings(edition.topology) if line not in known)
            queues = tuple(f"{node}:{interface}" for node, interface in self._present.network.requeued)
            return Done(len(self._edits), changes, fresh, queues)
