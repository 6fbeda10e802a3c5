"""Timers in the lab's own time, and threads that start again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lab.agents import supervised
from lab.agents.supervised import Killed, kill, supervise
from lab.agents.timers import Timers

SECONDS = 5.0


class Told:
    """What an agent told, and a wait for it."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._changed = threading.Condition()

    def __call__(self, kind: str, **facts: object) -> None:
        with self._changed:
            self.events.append((kind, facts))
            self._changed.notify_all()

    def wait(self, number: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: len(self.events) >= number, SECONDS)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No breath between two starts, and the traces of errors that are made on purpose are not printed."""
    monkeypatch.setattr(supervised, "BREATH", 0.0)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    yield


def test_actions_run_in_the_order_of_their_times_whatever_that_of_their_setting() -> None:
    ran, last = [], threading.Event()
    timers = Timers(1000, Told())
    for seconds in (40, 10, 30, 10, 20):
        timers.after(seconds, lambda seconds=seconds: ran.append(seconds))  # type: ignore[misc]
    timers.after(50, last.set)
    timers.start()
    assert last.wait(SECONDS)
    assert ran == [10, 10, 20, 30, 40]


@pytest.mark.parametrize("speedup", [10.0, 100.0])
def test_seconds_are_nominal_and_speedup_shortens_them(speedup: float) -> None:
    took, begin = [], time.monotonic()
    timers, done = Timers(speedup, Told()), threading.Event()
    timers.start()
    timers.after(1.0, lambda: (took.append(time.monotonic() - begin), done.set()))  # type: ignore[func-returns-value,arg-type]
    assert done.wait(SECONDS)
    assert 1.0 / speedup <= took[0] < 1.0


def test_one_that_is_due_sooner_than_those_that_wait_is_not_kept_waiting() -> None:
    done, late, timers = threading.Event(), threading.Event(), Timers(1.0, Told())
    timers.start()
    timers.after(3600, late.set)
    timers.after(0.01, done.set)
    assert done.wait(SECONDS)
    assert not late.is_set()


def test_an_action_that_raises_is_told_and_the_others_run() -> None:
    told, done = Told(), threading.Event()
    timers = Timers(1000, told)

    def wrong() -> None:
        raise ValueError("no such port")

    timers.after(1, wrong)
    timers.after(2, done.set)
    timers.start()
    assert done.wait(SECONDS)
    assert told.events == [("agent", {"agent": "timers", "what": "restarted", "why": "ValueError: no such port"})]


def test_an_agent_that_is_killed_starts_again_with_what_it_had() -> None:
    told, started, kept = Told(), threading.Semaphore(0), []

    def work() -> None:
        kept.append(len(kept))
        started.release()
        while True:
            time.sleep(0.01)

    supervise("killed on purpose", work, told)
    for number in range(1, 4):
        assert started.acquire(timeout=SECONDS)
        assert kill("killed on purpose")
        assert told.wait(number)
    assert {facts["why"] for _, facts in told.events} == {"Killed"}
    assert kept[:3] == [0, 1, 2]


def test_there_is_nobody_to_kill_of_a_name_that_nobody_has() -> None:
    assert not kill("nobody")


@pytest.mark.parametrize("error", [ValueError("bad"), OSError(5, "Input/output error"), Killed()])
def test_every_error_is_told_with_its_kind(error: BaseException) -> None:
    told, again = Told(), threading.Event()

    def work() -> None:
        if not told.events:
            raise error
        again.set()
        threading.Event().wait()

    supervise(f"agent of {error!r}", work, told)
    assert again.wait(SECONDS)
    assert told.events[0][1]["why"].startswith(type(error).__name__)
