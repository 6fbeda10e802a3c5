"""A topology file while its names are being resolved."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lab.errors import Mistake
from lab.topology.nodes import Document, Path, path_text
from lab.topology.releases import since
from lab.topology.schema import TopologySpec
from lab.topology.words import suggestion

SUGGESTED = 100
"""Mistakes with a hint about the nearest name: finding it costs time that a file full of mistakes does not deserve."""


class Reading:
    """What the grammar left of a file, and the mistakes that were found in what names mean.

    `kept` is the document's value without the entries that are wrong themselves. These have been told: that they are
    missing now is no mistake of what refers to them.
    """

    def __init__(self, spec: TopologySpec, document: Document, kept: dict[str, Any]) -> None:
        self.spec = spec
        self.document = document
        self.mistakes: list[Mistake] = []
        self._kept = Document(kept)

    # -- what is wrong

    def wrong(self, path: Path, what: str, hint: str = "", key: bool = False) -> None:
        line, column = self.document.place(path, key)
        self.mistakes.append(Mistake(line, column, path_text(path), what, hint))

    def known(self, path: Path, name: str, known: Iterable[str] | None, what: str) -> bool:
        """Tells an unknown name; with `known` None, where names cannot be told from the file, all are known."""
        names = None if known is None else list(known)
        if names is None or name in names:
            return True
        self.wrong(path, f"no {what} {name!r}", self.nearest(name, names))
        return False

    def nearest(self, name: str, names: list[str]) -> str:
        return suggestion(name, names) if len(self.mistakes) < SUGGESTED else ""

    def lacks(self, first: str) -> bool:
        """True when the file's release is older than `first`. A release that is wrong lacks nothing."""
        return not since(self.spec.release, first) and not self.pruned(("release",))

    # -- what has been told already

    def pruned(self, path: Path) -> bool:
        """True when the file has something at `path`, or where it would be, that is wrong itself."""
        steps = (path[:n] for n in range(1, len(path) + 1))
        return any(self.document.has(step) and not self._kept.has(step) for step in steps)

    def whole(self, path: Path) -> bool:
        """True when nothing at `path` or below it was wrong."""
        return not self.pruned(path) and bool(self._kept.at(path) == self.document.at(path))

    # -- names as the file has them, those whose own entry is wrong included

    def declared(self, *path: str) -> list[str] | None:
        """The keys of the mapping at `path`; None when it is wrong as a whole."""
        raw = self.document.at(path)
        if isinstance(raw, dict):
            return list(raw)
        return None if self.pruned(path) else []

    def pnics(self, host: str) -> list[str] | None:
        return self.declared("hosts", host, "uplinks")

    def may_have_vmkernel(self, host: str) -> bool:
        """False only when the file plainly gives the host no vmkernel adapter."""
        return self.declared("hosts", host, "vmkernel") != []
