"""`python -m lab.daemon`, started by `lab.realise.sandbox` inside the sandbox; its order comes on stdin."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

from lab.errors import LabBug, LabError


def _die_with_the_lifeline() -> None:
    """Standard input ends without the word `stay`: whoever started the lab is gone, and the lab goes with it."""
    if sys.stdin.readline() != "stay\n":
        os._exit(0)


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: os._exit(0))
    spec = json.loads(sys.stdin.readline())
    threading.Thread(target=_die_with_the_lifeline, daemon=True).start()
    status = os.fdopen(spec["status"], "w", buffering=1)

    def say(**what: Any) -> None:
        status.write(json.dumps(what) + "\n")

    try:
        from lab.daemon.server import Daemon

        daemon = Daemon(spec, lambda *step: say(progress=step))
    except LabError as error:
        say(error=type(error).__name__, text=str(error))
        raise SystemExit(error.exit_code) from error
    except BaseException as error:
        say(error=LabBug.__name__, text=f"{type(error).__name__}: {error}")
        raise
    say(ready=True)
    status.close()
    daemon.serve()


main()
