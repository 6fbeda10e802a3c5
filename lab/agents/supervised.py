"""Threads that agents live in: one that ends by an error is started again, and an event says so."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable

Tell = Callable[..., None]
"""(kind of event, facts by keyword)."""
BREATH = 1.0
"""Seconds between two starts of an agent that ends at once."""


class Killed(BaseException):
    """Somebody ended an agent's thread on purpose."""


def supervise(name: str, work: Callable[[], None], tell: Tell) -> threading.Thread:
    """Run `work`, which never returns, in a thread of this name; whatever it keeps in its object is there again when it
    starts anew."""

    def run() -> None:
        while True:
            started = time.monotonic()
            try:
                work()
            except (Exception, Killed) as error:
                tell("agent", agent=name, what="restarted", why=f"{type(error).__name__}: {error}".rstrip(": "))
                if not isinstance(error, Killed):
                    threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, None)))
            if time.monotonic() - started < BREATH:
                threading.Event().wait(BREATH)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


def kill(name: str) -> bool:
    """End the agent of this name as soon as its thread runs; for tests. False when there is none."""
    for thread in threading.enumerate():
        if thread.name == name and thread.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Killed))
            return True
    return False
