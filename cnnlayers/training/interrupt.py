"""Ctrl-C between steps: never in the middle of one."""

from __future__ import annotations

import signal
import threading
from typing import Any, Self


class Interruptible:
    """While it is entered, Ctrl-C waits for the next `check()`; a second one is raised at once, but not within `hold`.

    It steps aside where it may not set a signal handler (threads) or somebody else has set one.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.holding = False
        self._before: Any = None

    def __enter__(self) -> Self:
        mine = threading.current_thread() is threading.main_thread()
        if mine and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C came."""
        if self.asked:
            raise KeyboardInterrupt

    def _handle(self, *_: object) -> None:
        self.asked += 1
        if self.asked > 1 and not self.holding:
            raise KeyboardInterrupt
