"""Releases of vSphere: which are known here, and the defaults that differ."""

from __future__ import annotations

from lab.model import Security

RELEASES = ("4.1", "5.0", "5.1", "5.5", "6.0", "6.5", "6.7", "7.0", "8.0")


def since(release: str, first: str) -> bool:
    """True when `release` is `first` or later."""
    return RELEASES.index(release) >= RELEASES.index(first)


def default_security(release: str, distributed: bool) -> Security:
    """A vSS has reject, accept, accept before 7.0, a vDS the same before 5.1; all reject from then on."""
    strict = since(release, "5.1" if distributed else "7.0")
    return Security(promiscuous=False, mac_changes=not strict, forged_transmits=not strict)
