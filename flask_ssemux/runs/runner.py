"""Runs a generator in a greenlet or thread of its own, in a context that is made for it, and can stop it.

Under gevent a generator is stopped where it waits, by ``GeneratorExit``, so that its ``finally`` blocks run at once; in
threads at its next ``yield``. What is done with what it yields is up to the caller. No events, no broker, no Flask.
"""

from __future__ import annotations

import contextvars
import threading
import time
from contextlib import contextmanager
from itertools import count
from typing import Any, Callable, ContextManager, Iterable, Iterator

from ..util import forks
from ..util.background import run_in_background
from ..util.threads import call_soon, greenlets_are_threads

#: After so many values, other greenlets have their turn: a generator that never waits would stop the worker.
TURN = 64


class Runner:
    """Runs ``work``, which calls ``iterate`` and ``pause``.

    :param name: of the greenlet or thread.
    :param work: is called once, with this runner. ``GeneratorExit`` ends it when it is stopped.
    """

    def __init__(self, name: str, work: Callable[[Runner], None]) -> None:
        self._name = name
        self._work = work
        self._greenlet: Any = None
        self._gevent_loop: Any = None
        #: Whether ``stop`` was called.
        self.is_stopping = False
        self._may_interrupt = self._is_interrupted = False
        self._stopping = threading.Event()
        self._over = threading.Event()
        self._born = forks.generation

    def start(self) -> None:
        run_in_background(self._name, self._run)

    def stop(self) -> None:
        """End the work: at once under gevent if it waits in ``iterate`` or ``pause``. Returns at once."""
        self.is_stopping = True
        self._stopping.set()
        if self._greenlet is not None:
            call_soon(self._interrupt_soon)

    def wait(self, seconds: float) -> bool:
        """Wait until the work has ended; return whether it has."""
        return self._over.wait(seconds)

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    @property
    def is_copy(self) -> bool:
        """Whether this is a child that the work itself has forked: the work is its parent's."""
        return self._born != forks.generation

    def _run(self) -> None:
        if greenlets_are_threads():
            from gevent import get_hub, getcurrent

            self._greenlet, self._gevent_loop = getcurrent(), get_hub().loop
        try:
            # gevent gives a greenlet a copy of the context variables of whoever spawns it: those of a request, perhaps.
            contextvars.Context().run(self._work, self)
        except GeneratorExit:
            pass
        finally:
            self._greenlet = None
            self._over.set()

    # -- what the work does --------------------------------------------------

    def iterate(
        self, make: Callable[[], Any], make_context: Callable[[], ContextManager[Any]], take: Callable[[Any], None]
    ) -> None:
        """Run a generator to its end: call ``take`` with each value. The generator is closed in any case.

        :param make: makes the generator, or anything else to iterate over.
        :raises GeneratorExit: it was stopped. Other errors are those of the generator, and of ``take``.
        """
        with make_context():
            with self.interruptible():
                source = make()
            try:
                for value in self._draw(source):
                    self.check()
                    take(value)
            finally:
                if hasattr(source, "close"):
                    source.close()

    def _draw(self, source: Iterable[Any]) -> Iterator[Any]:
        iterator = iter(source)
        for number in count(1):
            self.check()
            if number % TURN == 0:
                forks.sleep(0)
            self._may_interrupt = True  # as ``interruptible`` does: this is done for each value
            try:
                value = next(iterator)
            except StopIteration:
                return
            finally:
                self._may_interrupt = False
            yield value

    def pause(self, seconds: float) -> None:
        """Wait.

        :raises GeneratorExit: it was stopped.
        """
        deadline = time.monotonic() + seconds
        with self.interruptible():
            while time.monotonic() < deadline and not self._stopping.wait(max(0.0, deadline - time.monotonic())):
                pass
        self.check()

    def check(self) -> None:
        """
        :raises GeneratorExit: it was stopped, or this is a child that it has forked.
        """
        if self.is_stopping or self.is_copy:
            raise GeneratorExit

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let ``stop`` raise ``GeneratorExit`` where this block waits, under gevent.

        :raises GeneratorExit: it was stopped before.
        """
        self.check()
        self._may_interrupt = True
        try:
            yield
        finally:
            self._may_interrupt = False

    def _interrupt_soon(self) -> None:
        if self._greenlet is not None:
            self._gevent_loop.run_callback(self._interrupt, self._greenlet)

    def _interrupt(self, greenlet: Any) -> None:
        """In gevent's hub: once, since a clean-up may wait, too."""
        if self._may_interrupt and not self._is_interrupted and greenlet is self._greenlet:
            self._is_interrupted = True
            greenlet.throw(GeneratorExit)
