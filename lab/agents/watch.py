"""The one thread that watches: links of every box and guest by their events, multicast filters by looking."""

from __future__ import annotations

import threading
import time

from lab.agents.guests import GuestAgent
from lab.agents.links import LinkAgent
from lab.agents.present import Present
from lab.agents.timers import Timers
from lab.realise.linkwatch import LinkWatch

FILTER_SECONDS = 0.5
"""Between two looks at multicast filters: half a percent of one processor for a thousand guests."""
WHOLE_SECONDS = 10.0
"""Between two looks at every adapter: a packet socket that asks for every multicast causes no event."""


class Watch:
    def __init__(self, present: Present, timers: Timers) -> None:
        """Returns when everything has been looked at once."""
        self._present = present
        self._watch = LinkWatch(present.network.namespaces)
        self.links = LinkAgent(present, self._watch, timers)
        self.guests = GuestAgent(present, self._watch)

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def catch_up(self, whole: bool = True) -> None:
        """The State is now what everybody has done before this was called, and the rows are right."""
        with self._present.lock:
            changed = self._watch.changed()
            self.links.look(changed)
            self.guests.look(None if whole else changed)

    def _run(self) -> None:
        looked = time.monotonic()
        while True:
            self._watch.wait(FILTER_SECONDS)
            whole = time.monotonic() - looked > WHOLE_SECONDS
            looked = time.monotonic() if whole else looked
            try:
                self.catch_up(whole)
            except (
                Exception
            ) as error:  # the next look is as good as this one would have been; the trace goes to the log
                self._present.event("refused", text=f"{type(error).__name__}: {error}")
                threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, None)))
