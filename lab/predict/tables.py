"""What switches have learned: the tables of a State, and what one frame adds to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

from lab.state import MacTable, State

Name = TypeVar("Name", bound=Hashable)
Key = tuple[int, str]
NOTHING: MacTable = {}


class Tables(Generic[Name]):
    """One kind of table, switch by switch. Entries of a port are counted once, when first asked for."""

    __slots__ = ("_counts", "by_switch")

    def __init__(self, by_switch: Mapping[Name, MacTable]) -> None:
        self.by_switch = by_switch
        self._counts: dict[Name, Counter[str]] = {}

    def held(self, switch: Name, port: str) -> int:
        """How many entries lead to this port."""
        if switch not in self._counts:
            self._counts[switch] = Counter(self.by_switch.get(switch, NOTHING).values())
        return self._counts[switch][port]


class Added(Generic[Name]):
    """Tables with what one frame has added on its way."""

    __slots__ = ("_new", "_old")

    def __init__(self, old: Tables[Name]) -> None:
        self._old = old
        self._new: dict[Name, dict[Key, str]] = {}

    def get(self, switch: Name, key: Key) -> str | None:
        if self._new and (found := self._new.get(switch, NOTHING).get(key)) is not None:
            return found
        return self._old.by_switch.get(switch, NOTHING).get(key)

    def put(self, switch: Name, key: Key, port: str) -> None:
        self._new.setdefault(switch, {})[key] = port

    def size(self, switch: Name) -> int:
        old = self._old.by_switch.get(switch, NOTHING)
        return len(old) + sum(key not in old for key in self._new.get(switch, NOTHING))

    def held(self, switch: Name, port: str) -> int:
        """How many entries lead to this port, where a frame never moves one away from it and back."""
        old = self._old.by_switch.get(switch, NOTHING)
        new = self._new.get(switch, NOTHING)
        return self._old.held(switch, port) + sum(p == port and old.get(key) != port for key, p in new.items())

    def after(self) -> Mapping[Name, MacTable]:
        """The same object as before when nothing was added."""
        old = self._old.by_switch
        if not self._new:
            return old
        return {**old, **{name: {**old.get(name, NOTHING), **new} for name, new in self._new.items()}}


class Learned:
    """All tables of a state, shared by its predictions."""

    __slots__ = ("arp", "mac_tables", "ports", "secured")

    def __init__(self, state: State) -> None:
        self.mac_tables = Tables(state.mac_tables)
        self.ports = Tables(state.learned)
        self.secured = Tables(state.secured)
        self.arp = Tables(state.arp_known)
