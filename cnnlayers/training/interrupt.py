"""Ctrl-C and SIGTERM between steps: never in the middle of one."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Self

from .ranks import Ranks


class Interruptible:
    """While it is entered, Ctrl-C waits for the next `check()`, and so does SIGTERM, if that is asked for.

    A second Ctrl-C is raised at once; while a file is `saving` a third one is, and within `holding` none, but
    `insisted` tells that it came. A second SIGTERM ends the process.

    It steps aside where it may not set a signal handler (threads) or somebody else has set one.

    Parameters
    ----------
    sigterm : bool
        Whether SIGTERM waits too.

    Attributes
    ----------
    pressed : int
        How often Ctrl-C came.
    terminated : bool
        Whether SIGTERM came.
    agreed : bool
        Whether one or the other came to any of several ranks, and all know it.
    """

    def __init__(self, sigterm: bool = False) -> None:
        self.pressed, self.terminated, self.agreed = 0, False, False
        self.holding = False
        self._saving = False
        self._sigterm = sigterm
        self._handled: dict[signal.Signals, Any] = {}  # what each signal did before

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                self._handled[signal.SIGINT] = signal.signal(signal.SIGINT, self._press)
            if self._sigterm and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                self._handled[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._terminate)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._handled.items():
            signal.signal(number, before)

    @property
    def asked(self) -> bool:
        """Whether somebody wants the training to end."""
        return self.pressed > 0 or self.terminated or self.agreed

    @property
    def insisted(self) -> bool:
        """Whether Ctrl-C came a second time."""
        return self.pressed > 1

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C or SIGTERM came."""
        if self.asked:
            raise KeyboardInterrupt

    def agree(self, ranks: Ranks) -> None:
        """Take what came to any rank for one's own; all must call it."""
        if ranks.size > 1:
            self.heed(ranks.gather((self.asked, self.terminated)))

    def heed(self, told: Iterable[tuple[bool, bool]]) -> None:
        """Heed what came to the ranks: whether each is asked, and terminated."""
        for asked, terminated in told:
            self.agreed |= asked
            if terminated:  # never set it to False: SIGTERM may come at this moment
                self.terminated = True

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """While a file is written, which takes a moment, or an age on a disk that does not answer."""
        before, self.holding = self.holding, False
        self._saving = True
        try:
            yield
        finally:
            self._saving, self.holding = False, before

    def _press(self, *_: object) -> None:
        self.pressed += 1
        if self.pressed > (2 if self._saving else 1) and not self.holding:
            raise KeyboardInterrupt

    def _terminate(self, *_: object) -> None:
        self.terminated = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
