"""Ctrl-C: the first asks training to finish its step and save, the second stops at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class Interruption:
    """While it is entered, `asked` says whether the user pressed Ctrl-C."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Interruption:
        # Python delivers signals to the main thread only; elsewhere the caller's own handling stays.
        self._ours = threading.current_thread() is threading.main_thread()
        if self._ours:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
