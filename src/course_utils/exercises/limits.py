"""A limit on the time of foreign code, and a net under its ways to end Python.

What cannot be contained: ``os._exit``, a crash of a compiled library, and one long call inside a
compiled library, ``sum(range(10**13))``, which no signal and no thread can interrupt.
"""

import contextvars
import ctypes
import io
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np

SECONDS = 9.8  # said as 10 s: the verdict itself is there within ten

_PATIENCE = 10  # so often it is asked to end every 20 ms; then without a pause
_ABANDONED_AFTER = 1.0  # seconds in which a thread may end when told so

Place = tuple[str, int]  # file name and line number


class NoEnd(Exception):
    """Foreign code did not end in its time.

    Attributes:
        seconds: how long it ran.
        places: where it was then, innermost first.
        abandoned: it could not be stopped, and goes on in a thread of its own.
    """

    def __init__(self, seconds: float, places: list[Place], *, abandoned: bool = False) -> None:
        super().__init__(f"did not end within {in_seconds(seconds)}")
        self.seconds, self.places, self.abandoned = seconds, places, abandoned


def in_seconds(seconds: float) -> str:
    """Say a time in whole seconds, where it is one or more."""
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1g} s"


class Escape(Exception):
    """Foreign code raised what would have ended Python: SystemExit, KeyboardInterrupt, …"""

    def __init__(self, error: BaseException) -> None:
        super().__init__(type(error).__name__)
        self.error = error


class _TimeUp(BaseException):
    """Raised inside code whose time is up; no ``except Exception`` catches it."""


class Budget:
    """The time that one answer may take, all its calls together."""

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = SECONDS if seconds is None else seconds
        self._left = self.seconds

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function, and come back.

        Raises:
            NoEnd: the time is up.
            Escape: it raised something that is no ``Exception``.
            KeyboardInterrupt: the user interrupted it.
            Exception: whatever it raised.
        """
        begin = time.monotonic()
        limited = _by_alarm if _has_alarm() else _in_a_thread
        try:
            with _no_way_out():
                return limited(lambda: function(*args), max(self._left, 0.01))
        except NoEnd as end:
            end.seconds = self.seconds
            raise
        finally:
            self._left -= time.monotonic() - begin


def _has_alarm() -> bool:
    return (
        hasattr(signal, "setitimer")
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGALRM)
        is not None  # one set outside Python: not to be put back
    )


# On the main thread of Linux and macOS -----------------------------------------------------------
class _Alarm:
    """The handlers of SIGALRM and SIGINT while foreign code runs."""

    def __init__(self) -> None:
        self.places: list[Place] = []  # where the code was when its time was up
        self.count = 0
        self.interrupted = False
        self.earlier_interrupt = signal.getsignal(signal.SIGINT)

    def ring(self, _number: int, frame: FrameType | None) -> None:
        if _is_ours(frame):
            return  # foreign code has not begun, or has ended
        if not self.places:
            self.places = _places(frame)
        self.count += 1
        if self.count > _PATIENCE:
            # It catches whatever is raised. Raise again a few microseconds later, now here, now
            # there: sooner or later that is between its `except` and its next `try`.
            signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + self.count % 50), 1e-3)
        raise _TimeUp

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        if not _is_ours(frame) and callable(self.earlier_interrupt):
            self.earlier_interrupt(number, frame)


def _by_alarm(function: Callable[[], Any], seconds: float) -> Any:
    begin, alarm = time.monotonic(), _Alarm()
    handler = signal.signal(signal.SIGALRM, alarm.ring)
    if callable(alarm.earlier_interrupt):
        signal.signal(signal.SIGINT, alarm.interrupt)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 0.02)
    value, error = None, None
    try:
        value = function()
    except BaseException as raised:
        error = raised
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, handler)
    if left:
        left = max(left - (time.monotonic() - begin), 1e-6)
        signal.setitimer(signal.ITIMER_REAL, left, interval)
    if callable(alarm.earlier_interrupt):
        signal.signal(signal.SIGINT, alarm.earlier_interrupt)
    if alarm.interrupted:
        raise KeyboardInterrupt
    if alarm.places:
        raise NoEnd(seconds, alarm.places)
    return _outcome(value, error)


# On Windows, and off the main thread -------------------------------------------------------------
def _in_a_thread(function: Callable[[], Any], seconds: float) -> Any:
    outcome: list[Any] = [None, None]
    ended = threading.Event()

    errors = np.geterr()  # before NumPy 2 each thread has a state of its own

    def run() -> None:
        try:
            with np.errstate(**errors):
                outcome[0] = function()
        except BaseException as error:
            outcome[1] = error
        finally:
            ended.set()

    def quietly() -> None:
        try:
            run()
        except BaseException:  # told to end once more when it had ended
            ended.set()

    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(quietly,), daemon=True, name="answer"
    )
    thread.start()
    try:
        if _wait(ended, seconds):
            return _outcome(*outcome)
        frame = sys._current_frames().get(thread.ident or 0)
        raise NoEnd(seconds, _places(frame), abandoned=not _stopped(thread, ended))
    except KeyboardInterrupt:  # by the user: this thread runs nothing of the answer
        _stopped(thread, ended)
        raise


def _wait(ended: threading.Event, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not ended.is_set() and time.monotonic() < end:
        ended.wait(0.05)  # no longer: on Windows an interrupt comes through in between only
    return ended.is_set()


def _stopped(thread: threading.Thread, ended: threading.Event) -> bool:
    """Raise in another thread until it ends; tell whether it did."""
    end = time.monotonic() + _ABANDONED_AFTER
    while not ended.is_set() and time.monotonic() < end:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident or 0), ctypes.py_object(_TimeUp)
        )
        ended.wait(0.002)
    return ended.is_set()


# Both --------------------------------------------------------------------------------------------
def _outcome(value: Any, error: BaseException | None) -> Any:
    if isinstance(error, Exception):
        raise error
    if error is not None:
        raise Escape(error) from None
    return value


def _is_ours(frame: FrameType | None) -> bool:
    return frame is None or frame.f_code.co_filename == __file__


def _places(frame: FrameType | None) -> list[Place]:
    places = []
    while frame is not None and not _is_ours(frame):
        places.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return places


@contextmanager
def _no_way_out() -> Iterator[None]:
    """Let ``quit()`` neither close the keyboard's stream nor stop the kernel, but raise."""
    keyboard, sys.stdin = sys.stdin, io.StringIO()
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is not None:
        shell.ask_exit = _exit
    try:
        yield
    finally:
        sys.stdin = keyboard
        if shell is not None:
            vars(shell).pop("ask_exit", None)


def _exit() -> None:
    raise SystemExit
