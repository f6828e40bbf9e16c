"""Ctrl-C: the first asks training to finish its step and save, the second stops at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class Interruption:
    """Context in which Ctrl-C is a request.

    Attributes:
        asked: whether the user has pressed Ctrl-C.
    """

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Interruption:
        # Python delivers signals to the main thread only; in other threads the caller's handler stays.
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
