"""What happened when: one clock for all actors, and a line for each action, so that a failure can be understood.

Nothing is decided here: each actor decides with its own generator of random numbers, made from the run's seed.
"""

from __future__ import annotations

import random
import threading
import time
from contextlib import contextmanager
from typing import Any, Iterator

from tests.chaos.judge import Event


class Diary:
    """The diary of one run: its clock (seconds since the start), its lines, and all that was published."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.started = time.monotonic()
        self.events: list[Event] = []
        self.failures: list[str] = []
        """What must not happen to anybody, whatever is killed."""
        self._writing = threading.Lock()
        print(f"chaos seed {seed}")

    def chance(self, actor: str) -> random.Random:
        """Return the actor's own generator, so that its decisions do not depend on when the others run."""
        return random.Random(f"{self.seed}/{actor}")

    def now(self) -> float:
        return time.monotonic() - self.started

    def note(self, text: str) -> None:
        """Print a line, which pytest shows if the test fails."""
        with self._writing:
            print(f"{self.now():7.3f}  {text}")

    def fail(self, text: str) -> None:
        self.note(f"FAULT: {text}")
        self.failures.append(text)

    def add(self, event: Event) -> None:
        with self._writing:
            self.events.append(event)

    def accepted(self) -> int:
        with self._writing:
            return sum(event.cursor is not None for event in self.events)

    @contextmanager
    def watching(self, who: str) -> Iterator[None]:
        """Make an actor's exception a failure of the run."""
        try:
            yield
        except BaseException as error:
            self.fail(f"{who} broke: {error!r}")
            raise


class Actor:
    """A thread that plays its part until it is stopped."""

    def __init__(self, name: str, diary: Diary) -> None:
        self.name, self.diary = name, diary
        self.chance = diary.chance(name)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def play(self) -> None:
        """Play the part; return when `wait` returns False."""
        raise NotImplementedError

    def wait(self, seconds: float) -> bool:
        """Wait for so many seconds; return whether to continue."""
        return not self._stopping.wait(max(0.0, seconds))

    def _run(self) -> None:
        with self.diary.watching(self.name):
            self.play()

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, timeout: float = 30.0) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
            if self._thread.is_alive():
                self.diary.fail(f"{self.name} does not stop")
