"""YAML text -> plain values with the place of each, read strictly.

libyaml's events; scalars as YAML 1.2's core schema has them (`yes` is text, `010` is ten, a MAC is no number). Keys are
text as written. Anchors, aliases, merge keys, tags, duplicate keys and second documents are mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from lab.errors import Mistake

Path = tuple[str | int, ...]
Place = tuple[int, int]

DEEPEST = 12
_NULL = re.compile(r"null|Null|NULL|~|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_OCTAL = re.compile(r"0o[0-7]{1,18}")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,16}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class YamlMistake(Exception):
    """What stops the reading of the file altogether."""

    def __init__(self, mistake: Mistake) -> None:
        self.mistake = mistake
        super().__init__(mistake.what)


@dataclass
class Document:
    """`value` is made of dict, list, str, int, float, bool and None; `places` and `key_places` count from 1."""

    value: Any = None
    places: dict[Path, Place] = field(default_factory=dict)
    key_places: dict[Path, Place] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def place(self, path: Path, key: bool = False) -> Place:
        """Of the value (or key) at `path`, or of the nearest thing around it."""
        if key and path in self.key_places:
            return self.key_places[path]
        while path:
            if path in self.places:
                return self.places[path]
            path = path[:-1]
        return self.places.get((), (1, 1))

    def has(self, path: Path) -> bool:
        """True when there is something at `path`, be it a null."""
        return not path or path[-1] in _names(self.at(path[:-1]))

    def at(self, path: Path) -> Any:
        """What is there; None for nothing."""
        here = self.value
        for part in path:
            here = here[part] if part in _names(here) else None
        return here


def _names(value: Any) -> Container[str | int]:
    """What can stand below this value: a mapping's keys, a list's indices."""
    if isinstance(value, dict):
        return value
    return range(len(value)) if isinstance(value, list) else ()


def path_text(path: Path) -> str:
    """`hosts.esx1.uplinks[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read_document(text: str) -> Document:
    """Raises YamlMistake for what is no YAML at all; other mistakes are in the document."""
    control = _CONTROL.search(text)
    if control:
        line = text.count("\n", 0, control.start()) + 1
        column = control.start() - (text.rfind("\n", 0, control.start()) + 1) + 1
        raise YamlMistake(Mistake(line, column, "", f"control character {control.group()!r}: this is no YAML text"))
    reader = _Reader(text)
    try:
        reader.run()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        context = f" {error.context}" if error.context else ""
        raise YamlMistake(Mistake(line, column, "", f"not YAML: {error.problem}{context}")) from None
    except yaml.YAMLError as error:
        raise YamlMistake(Mistake(1, 1, "", f"not YAML: {' '.join(str(error).split())}")) from None
    return reader.document


class _Reader:
    def __init__(self, text: str) -> None:
        self.document = Document()
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=yaml.CSafeLoader))

    def run(self) -> None:
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._mistake(event, (), "a second document", "one topology to a file; remove the `---`")
                    return
            elif isinstance(event, yaml.NodeEvent):
                self.document.value = self._node(event, ())

    def _mistake(self, event: Any, path: Path, what: str, hint: str = "") -> None:
        line, column = _place(event)
        self.document.mistakes.append(Mistake(line, column, path_text(path), what, hint))

    def _node(self, event: Any, path: Path) -> Any:
        self.document.places[path] = _place(event)
        if len(path) > DEEPEST:
            line, column = _place(event)
            raise YamlMistake(Mistake(line, column, "", f"nested deeper than {DEEPEST} levels"))
        if isinstance(event, yaml.AliasEvent):
            self._mistake(event, path, f"an alias (*{event.anchor})", "write the value out")
            return None
        if event.anchor:
            self._mistake(event, path, f"an anchor (&{event.anchor})", "anchors and aliases are not used here")
        if event.tag and event.tag != "!":
            self._mistake(event, path, f"a tag ({event.tag})", "write the plain value")
        if isinstance(event, yaml.ScalarEvent):
            plain = event.implicit[0] and not event.style
            return scalar(event.value) if plain else event.value
        return self._list(path) if isinstance(event, yaml.SequenceStartEvent) else self._mapping(path)

    def _list(self, path: Path) -> list[Any]:
        items: list[Any] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._node(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            self._entry(event, path, entries)
        return entries

    def _entry(self, event: Any, path: Path, entries: dict[str, Any]) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            self._mistake(event, path, "a key must be plain text")
            self._node(event, (*path, "?"))
            self._node(next(self._events), (*path, "?"))
            return
        key = event.value
        below = (*path, key)
        merge = key == "<<" and not event.style
        if merge:
            self._mistake(event, path, "a merge key (<<)", "write the entries out")
        elif key in entries:
            line, _ = self.document.key_places[below]
            self._mistake(event, path, f"{key!r} is here twice", f"first on line {line}")
        else:
            self.document.key_places[below] = _place(event)
            entries[key] = None
            entries[key] = self._node(next(self._events), below)
            return
        kept = self.document.places.get(below)
        self._node(next(self._events), (*path, "?"))
        if kept:
            self.document.places[below] = kept


def scalar(text: str) -> Any:
    """A plain scalar by YAML 1.2's core schema; infinities and numbers too long to mean anything stay text."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return text[0] in "tT"
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEX.fullmatch(text):
        return int(text[2:], 16)
    return float(text) if _FLOAT.fullmatch(text) else text


def _place(event: Any) -> Place:
    return event.start_mark.line + 1, event.start_mark.column + 1
