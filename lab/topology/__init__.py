"""Topology file -> `Topology`. All mistakes at once, each with line, column, path, what and a hint."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lab.errors import Mistake, TopologyError, UsageError
from lab.model import Topology
from lab.topology.nodes import DEEPEST, Document, YamlMistake, read_document
from lab.topology.reading import Reading
from lab.topology.resolve import resolve
from lab.topology.schema import TopologySpec, json_schema
from lab.topology.warnings import warnings
from lab.topology.words import mistakes_of, prune

__all__ = ["json_schema", "read_topology", "read_topology_file", "read_topology_text", "warnings"]

LARGEST = 4 * 1024 * 1024


def read_topology_text(path: Path) -> str:
    """Raises UsageError for a file that cannot be read, TopologyError for one that is no text or too large."""
    source = str(path)
    try:
        if not path.is_file():  # neither a directory nor a pipe that never ends
            path.stat()
            raise UsageError(f"{source} is no regular file")
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {source}: {getattr(error, 'strerror', None) or error}") from None
    if len(raw) > LARGEST:
        raise TopologyError(source, [Mistake(1, 1, "", f"larger than {LARGEST // 1024**2} MB: no topology file")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        raise TopologyError(source, [Mistake(line, column, "", "not UTF-8 text")]) from None


def read_topology_file(path: Path) -> Topology:
    return read_topology(read_topology_text(path), str(path))


def read_topology(text: str, source: str) -> Topology:
    """Raises TopologyError with every mistake of the file."""
    return topology_of(document_of(text, source), source)


def document_of(text: str, source: str) -> Document:
    """Raises TopologyError for what is no YAML at all; other mistakes are in the document."""
    try:
        return read_document(text)
    except YamlMistake as error:
        raise TopologyError(source, [error.mistake]) from None


def topology_of(document: Document, source: str) -> Topology:
    """Raises TopologyError with every mistake of the document."""
    mistakes = list(document.mistakes)
    if document.value is None and not mistakes:
        raise TopologyError(source, [Mistake(1, 1, "", "the file is empty", "a topology needs at least `name:`")])
    if not isinstance(document.value, dict):
        raise TopologyError(source, mistakes or [Mistake(1, 1, "", "no mapping", "a topology begins with `name: ...`")])
    spec, kept, wrong = _validated(document)
    mistakes += wrong
    if spec is not None:
        topology, unresolved = resolve(Reading(spec, document, kept), source)
        mistakes += unresolved
        if not mistakes:
            return topology
    raise TopologyError(source, mistakes)


def _validated(document: Document) -> tuple[TopologySpec | None, dict[str, Any], list[Mistake]]:
    """What is left of the file without the entries that are wrong, so that the rest is checked too; the same as plain
    values; and the mistakes."""
    mistakes: list[Mistake] = []
    value = copy.deepcopy(document.value)
    for _ in range(DEEPEST * 2):  # an entry goes with the one around it at worst, level by level
        try:
            return TopologySpec.model_validate(value), value, mistakes
        except ValidationError as error:
            mistakes = mistakes or list(mistakes_of(error, document))
            taken = [prune(value, found) for found in error.errors(include_url=False)]
            if not all(taken):
                break
    return None, value, mistakes
