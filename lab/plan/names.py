"""Model names -> names that Linux takes, the same way every time."""

from __future__ import annotations

import hashlib
import re

INTERFACE_MAX = 15
NODE_MAX = 60
_TAKEN = frozenset(("all", "default", "lo", "ovs-system", "ovs-netdev"))
"""Interface names that Linux or Open vSwitch keep for themselves."""

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def linux_name(label: str, longest: int = INTERFACE_MAX) -> str:
    """`label` itself where Linux takes it; else its readable start, `_`, and 6 digits of its hash."""
    if len(label) <= longest and _PLAIN.fullmatch(label) and label not in _TAKEN:
        return label
    start = re.sub(r"[^A-Za-z0-9._-]", "", label.replace(" ", "-")).lstrip("._-") or "x"
    return f"{start[: longest - 7]}_{_digest(label)[:6]}"


def datapath_id(*labels: str) -> str:
    """16 hexadecimal digits, never zero, from the names of box and bridge."""
    return _digest("/".join(labels))[:15] + "1"


def box_mac(*labels: str) -> str:
    """A locally administered MAC for an interface whose address no frame bears."""
    raw = _digest("/".join(labels))
    return ":".join(["02", *(raw[i : i + 2] for i in range(0, 10, 2))])
