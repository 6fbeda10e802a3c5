"""A pcapng file that dumpcap is still writing: when the newest of what is looked for was sent."""

from __future__ import annotations

from pathlib import Path

from lab.observe.pcapng import ENHANCED, Blocks


class Growing:
    """Packets of the file that hold `needle`: when the newest of them was on its wire, 0 before there is one."""

    def __init__(self, path: Path, needle: bytes) -> None:
        self._path, self._needle = path, needle
        self._blocks = Blocks(path)
        self._read_to = 0
        self.newest_ns = 0

    def look(self) -> None:
        """Take in what was written since the last look; a block that is not whole yet waits for the next one.

        Read, not mapped: a page of a file on a full disk that cannot be mapped would kill this process."""
        with self._path.open("rb") as file:
            file.seek(self._read_to)
            data = file.read()
        whole = 0
        for kind, start, end in self._blocks.walk(data):
            whole = end
            if kind == ENHANCED and data.find(self._needle, start, end) >= 0:
                self.newest_ns = max(self.newest_ns, self._blocks.time_ns(data, start))
        self._read_to += whole
