"""What pydantic found -> mistakes in the words of an administrator."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lab.errors import Mistake
from lab.topology.nodes import Document, Path, path_text
from lab.topology.schema import TopologySpec
from lab.topology.section import Section
from lab.topology.values import LATER, UNWRITTEN

_TYPES = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
}


def mistakes_of(error: ValidationError, document: Document) -> Iterator[Mistake]:
    errors = error.errors(include_url=False)
    misspelt = {_meant(tuple(found["loc"])) for found in errors if found["type"] == "extra_forbidden"}
    for found in errors:
        path = tuple(found["loc"])
        if found["type"] == "missing" and path in misspelt:
            continue
        extra = found["type"] == "extra_forbidden"
        of_key = path[-1:] == ("[key]",) and not extra
        at_key = of_key or extra
        if of_key:
            path = path[:-1]
        line, column = document.place(path, at_key)
        what, hint = _words(found, path)
        # A value that is missing is told at the mapping that lacks it.
        shown = path[:-1] if found["type"] in ("missing", "extra_forbidden") else path
        yield Mistake(line, column, path_text(shown), what, hint)


def suggestion(name: str, known: list[str]) -> str:
    """`did you mean X?`, or what there is when that is short, or nothing."""
    close = _close(name, known)
    if close:
        return f"did you mean {close!r}?"
    return f"there is {', '.join(known)}" if 0 < len(known) <= 8 else ""


def _close(name: str, known: list[str]) -> str:
    return next(iter(get_close_matches(name, known, 1, 0.6)), "")


def _words(found: ErrorDetails, path: Path) -> tuple[str, str]:
    kind, value, context = found["type"], found["input"], found.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(path)
    if kind == "missing":
        return f"{path[-1]!r} is missing", ""
    if kind == "value_error":
        error = context["error"]
        return (UNWRITTEN, "") if value is None else (str(error), getattr(error, "hint", ""))
    if kind in _TYPES:
        return f"{_TYPES[kind]}, not {_shown(value)}", _type_hint(kind, value)
    if kind == "literal_error":
        expected = str(context["expected"]).replace(" or ", ", ")
        return f"{_shown(value)} is not one of {expected}", UNWRITTEN if value is None else ""
    if kind == "string_pattern_mismatch":
        pattern = str(context["pattern"])
        return f"{_shown(value)} is no name of this kind", f"named {pattern.strip('^$').split('[')[0]}0, ...1, ..."
    if kind == "too_short":
        return f"needs at least {context['min_length']}, has {context['actual_length']}", ""
    if kind == "too_long":
        return f"at most {context['max_length']}, has {context['actual_length']}", ""
    return f"{_shown(value)}: {found['msg'].replace('Input should be', 'should be')}", ""


def _type_hint(kind: str, value: Any) -> str:
    if kind == "bool_type" and str(value).lower() in ("yes", "no", "on", "off"):
        return "YAML 1.2: write true or false"
    return UNWRITTEN if value is None else ""


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _unknown_key(path: Path) -> tuple[str, str]:
    section = _section_at(path[:-1])
    key = str(path[-1])
    if section is None:
        return f"unknown key {key!r}", ""
    if key in section.DISTRIBUTED_ONLY:
        return f"a standard switch has no {key!r}", "use a distributed switch"
    if key in section.NOT_EMULATED:
        return f"{key!r} {LATER}", "leave it out; the lab would not show what it does"
    return f"unknown key {key!r}", suggestion(key, _keys(section))


def _meant(path: Path) -> Path:
    """Where the unknown key at `path` would stand, were it written as what it most resembles."""
    section = _section_at(path[:-1])
    return (*path[:-1], _close(str(path[-1]), _keys(section) if section else []))


def _keys(section: type[Section]) -> list[str]:
    return [f.alias or name for name, f in section.model_fields.items()]


def _section_at(path: Path) -> type[Section] | None:
    """The model class that stands at `path` in the grammar."""
    here: Any = TopologySpec
    for part in path:
        section = _class_in(here)
        if section is not None:
            fields = {f.alias or name: f for name, f in section.model_fields.items()}
            here = fields[str(part)].annotation if str(part) in fields else None
        else:
            here = next((a for a in reversed(get_args(_container(here)))), None)
    return _class_in(here)


def _class_in(kind: Any) -> type[Section] | None:
    """A Section itself, or the one inside Annotated and `X | None`."""
    if isinstance(kind, type) and issubclass(kind, Section):
        return kind
    if get_origin(kind) in (dict, list, tuple) or kind is None:
        return None
    return next((found for arg in get_args(kind) if (found := _class_in(arg))), None)


def _container(kind: Any) -> Any:
    """dict[...] or list[...] inside Annotated and `X | None`."""
    if get_origin(kind) in (dict, list):
        return kind
    return next((found for arg in get_args(kind) if (found := _container(arg))), None)


def prune(value: dict[str, Any], found: ErrorDetails) -> bool:
    """Take the entry that is wrong out of the document; False when there is nothing to take."""
    path = list(found["loc"])
    if path[-1:] == ["[key]"] and found["type"] != "extra_forbidden":
        path.pop()
    if found["type"] == "missing":
        path.pop()
    if not path or path == ["name"]:
        value["name"] = "unnamed"
        return found["loc"] == ("name",)
    entry: tuple[dict[str, Any], str] | None = None
    here: Any = value
    for part in path:
        if isinstance(here, dict):
            if part not in here:
                return True  # gone with an entry around it
            entry = (here, str(part))
        elif not isinstance(here, list):
            break  # a name that stands for a mapping
        elif not isinstance(part, int) or part >= len(here):
            return True
        here = here[part]
    if entry is None:
        return False
    entry[0].pop(entry[1], None)
    return True
