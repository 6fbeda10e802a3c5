"""One error tree. A class says whose move is next; `lab.cli` turns it into an exit code in one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class LabError(Exception):
    """Anything that vswitchlab refuses or could not do, said in one line for a person."""

    exit_code = 70


class UsageError(LabError):
    """The caller's move: a name, a point or an option that does not fit the lab at hand."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong in a topology file. `line` and `column` count from 1; 0 means the whole file."""

    line: int
    column: int
    path: str
    what: str
    hint: str = ""

    def text(self, source: str) -> str:
        """`FILE:LINE:COLUMN: path: what (hint)`."""
        where = f"{self.path}: " if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        text = f"{source}:{self.line}:{self.column}: {where}{self.what}{hint}"
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class TopologyError(LabError):
    """The file author's move: every mistake of the file at once, in file order."""

    exit_code = 3

    def __init__(self, source: str, mistakes: Sequence[Mistake]) -> None:
        self.source = source
        self.mistakes = tuple(sorted(mistakes, key=lambda m: (m.line, m.column, m.path, m.what)))
        super().__init__("\n".join(m.text(source) for m in self.mistakes))


class MachineLacks(LabError):
    """The machine owner's move: something to install or to allow."""

    exit_code = 4


class SystemRefused(LabError):
    """The operating system refused a step that should have worked."""

    exit_code = 5


class CannotTell(LabError):
    """The evidence is not good enough for an answer (capture loss, a positive control that was not seen)."""

    exit_code = 6


class LabBug(LabError):
    """Our move."""

    exit_code = 70
