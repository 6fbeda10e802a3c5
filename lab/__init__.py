"""vswitchlab: the network of a virtualised datacentre on one machine, and where its frames go.

`from lab import launch` gives a running lab for the length of a `with` block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.running import RunningLab, launch

__all__ = ["RunningLab", "launch"]


def __getattr__(name: str) -> Any:
    """Loaded on first use: the pure parts of the package must not pull in what touches the system."""
    if name in __all__:
        from lab import running

        globals()[name] = getattr(running, name)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
