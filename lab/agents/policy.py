"""Changes of policy on a running lab, one at a time: edit, read again, compile, one bundle for each switch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.agents.present import Present
from lab.agents.watch import Watch
from lab.realise.difference import BridgeChange
from lab.topology import warnings
from lab.topology.edit import Edit, Edition, edits_of


@dataclass(frozen=True)
class Done:
    """`version`: how many changes the topology has had; `queues`: interfaces that have other rates now; `warnings`:
    those that it did not have before."""

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
        self._changes: list[tuple[Edit, ...]] = []

    @property
    def edition(self) -> Edition:
        return self._edition

    def changes(self, after: int) -> list[tuple[Edit, ...]]:
        """The edits of each change, from change number `after` on: whoever has the file's text has the present topology
        when each change is made as one."""
        with self._present.lock:
            return self._changes[after:]

    def keep(self, edition: Edition, edits: Sequence[Edit]) -> int:
        """The topology is `edition` now, by these edits as one change; returns how many there were."""
        self._edition = edition
        self._changes.append(tuple(edits))
        return len(self._changes)

    def set(self, what: str, settings: Mapping[str, Any]) -> Done:
        """All settings as one change. Raises UsageError for what is wrong with them, SystemRefused; nothing is changed
        then."""
        with self._present.lock:
            self._watch.catch_up(whole=False)  # what guests have done before this was asked comes first
            edits = edits_of(self._edition, what, settings)
            edition = self._edition.with_edits(edits)
            before = self._edition.topology
            changes = self._present.intend(edition.topology, what=what, settings=dict(settings))
            self._present.network.settle({change.box for change in changes})
            version = self.keep(edition, edits)
            self._watch.catch_up(whole=False)  # a vNIC that was disconnected has no carrier any more
            known = set(warnings(before))
            fresh = tuple(line for line in warnings(edition.topology) if line not in known)
            queues = tuple(f"{node}:{interface}" for node, interface in self._present.network.requeued)
            return Done(version, changes, fresh, queues)
