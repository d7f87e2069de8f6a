"""Restores the terminal before a signal ends or stops the process."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)
"""The signals that a user at a terminal sends, or a terminal that closes."""


@contextlib.contextmanager
def before_leaving(put_back: Callable[[], None], take_again: Callable[[], None]) -> Iterator[None]:
    """While the block runs, a signal first calls ``put_back``, and then has its previous effect.

    A handler that is installed during the block replaces this one. If it ends the process, it must call ``put_back`` itself.

    Args:
        put_back: Puts the terminal back.
        take_again: Called when the process goes on after Ctrl-Z.
    """
    if threading.current_thread() is not threading.main_thread():  # Python lets no other thread set handlers
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def handle(number: int, frame: object) -> None:
        put_back()
        was = before[signal.Signals(number)]
        if callable(was):
            was(number, frame)  # type: ignore[arg-type]  # the frame is one
            return
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)  # ends the process; Ctrl-Z stops it, and from here it goes on
        signal.signal(number, handle)
        take_again()

    ours = [number for number, was in before.items() if was not in (signal.SIG_IGN, None)]  # nohup ignores SIGHUP
    for number in ours:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in ours:
            if signal.getsignal(number) is handle:
                signal.signal(number, before[number])
