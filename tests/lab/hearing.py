"""Commands for a node that end once something was heard there."""

from __future__ import annotations


def until_heard(interface: str, mac: str) -> tuple[str, ...]:
    """Ends when one frame to this MAC has come by."""
    return ("dumpcap", "-q", "-i", interface, "-c", "1", "-w", "/dev/null", "-f", f"ether dst {mac}")
