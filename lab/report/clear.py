"""What was read in clear while something was done, and where: as people read it, and as JSON has it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Exposed:
    """A capture point where the data was read as plain bytes: `count` packets with one of its markers."""

    box: str
    node: str
    interface: str
    point: str
    vlans: tuple[int, ...]
    count: int


@dataclass(frozen=True)
class ClearReport:
    """`done`: what the daemon says of what it did; `exposed`: None when nothing was looked for on the wires."""

    done: dict[str, Any]
    exposed: tuple[Exposed, ...] | None

    def as_json(self) -> dict[str, Any]:
        exposed = None if self.exposed is None else [{**vars(e), "vlans": list(e.vlans)} for e in self.exposed]
        return {"schema": 1, **self.done, "in_clear_at": exposed}

    def clear_lines(self, whose: str, unless: str = "") -> Iterator[str]:
        """`whose`: what was looked for; `unless`: why it was not."""
        if self.exposed is None:
            yield f"  {whose} in clear: not looked for{unless}"
        elif not self.exposed:
            yield f"  {whose} in clear: nowhere"
        else:
            yield f"  {whose} in clear at:"
            for e in self.exposed:
                tags = f" VLAN {'/'.join(map(str, e.vlans))}" if e.vlans else ""
                yield f"    {e.box}:{e.interface} {e.point}{tags} ({e.count} packets)"
