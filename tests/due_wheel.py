"""Things done at exact moments: one heap of due times and one kernel timer on the clock of perf_counter_ns.

    wheel = Wheel(asyncio.get_running_loop())
    wheel.add(time.perf_counter_ns() + 10_000_000, job)        # job.write() is called in 10 ms, and again when it says

An event loop's own timers are rounded to milliseconds (epoll's resolution; uvloop's even fire early); Linux's timerfd is not.
"""

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Protocol

_now = time.perf_counter_ns


class Job(Protocol):
    """Something to do at its moment."""

    def write(self) -> int:
        """Do it, and return when to do it next (perf_counter_ns; 0: never again)."""


class Wheel:
    """All jobs in one heap, with one timer set to the earliest."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._heap: list[tuple[int, int, Job]] = []
        self._count = 0
        self._set_to = 0
        self._set_timer = _kernel_timer(loop, self._tick) or _loop_timer(loop, self._tick)

    def add(self, due_ns: int, job: Job) -> None:
        self._count += 1
        heappush(self._heap, (due_ns, self._count, job))
        if not self._set_to or due_ns < self._set_to:
            self._arm()

    def _tick(self) -> None:
        heap, self._set_to = self._heap, 0
        while heap and heap[0][0] <= _now():
            _, number, job = heappop(heap)
            if due_ns := job.write():
                heappush(heap, (due_ns, number, job))
        self._arm()

    def _arm(self) -> None:
        if self._heap and self._heap[0][0] != self._set_to:
            self._set_to = self._heap[0][0]
            self._set_timer(self._set_to)


def _kernel_timer(loop: asyncio.AbstractEventLoop, tick: Callable[[], None]) -> Callable[[int], None] | None:
    """A timerfd on the clock of perf_counter_ns, or None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    timer = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    if timer < 0:
        return None
    spec = (ctypes.c_long * 4)()
    reference = ctypes.byref(spec)
    settime = libc.timerfd_settime

    def expired() -> None:
        try:
            os.read(timer, 8)
        except BlockingIOError:
            return
        tick()

    def set_timer(due_ns: int) -> None:
        spec[2], spec[3] = divmod(max(due_ns, 1), 1_000_000_000)
        settime(timer, 1, reference, None)

    loop.add_reader(timer, expired)
    return set_timer


def _loop_timer(loop: asyncio.AbstractEventLoop, tick: Callable[[], None]) -> Callable[[int], None]:
    handles: list[asyncio.TimerHandle] = []

    def set_timer(due_ns: int) -> None:
        for handle in handles:
            handle.cancel()
        handles[:] = [loop.call_later(max(due_ns - _now(), 0) / 1e9, tick)]

    return set_timer
