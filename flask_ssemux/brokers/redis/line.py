"""One connection to a Redis server, used by one caller at a time, each answer within a deadline."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable

from ...errors import BrokerUnavailable
from ..base import WAIT
from .address import LEAST, Address, driver
from .scripts import Script

#: Seconds between two tries to reach a server that is not there.
PAUSE = 0.05

#: Seconds after a call that failed in which those that queued behind it fail too, rather than each after a wait.
QUEUE = 0.1


class Line:
    """One connection, used by one caller at a time; a server that went away is connected anew.

    :param address: of the server.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._connection: Any = None
        self._failed: tuple[float, str] = (0.0, "")

    def call(self, script: Script, key: str, *values: Any) -> Any:
        """The script's answer. It may be run twice, where the first answer never came.

        :raises BrokerUnavailable: there was none within ``WAIT`` seconds.
        """
        deadline = time.monotonic() + WAIT
        if not self._lock.acquire(timeout=WAIT - LEAST / 2):  # with too little time left it would only be asked in vain
            raise BrokerUnavailable("the Redis store %s: busy for %g s" % (self._address.shown, WAIT))
        try:
            until, reason = self._failed
            if time.monotonic() < until:
                raise BrokerUnavailable(reason)
            return self._persistently(deadline, lambda: self._run(script, (1, key) + values, deadline))
        except BaseException as error:
            if not isinstance(error, BrokerUnavailable):
                self._hang_up()  # a time-out of the caller's, or its end: the answer is still to come
            raise
        finally:
            self._lock.release()

    def close(self) -> None:
        """Let go of the connection; a later call opens another."""
        if self._lock.acquire(timeout=WAIT):
            try:
                self._hang_up()
            finally:
                self._lock.release()

    def _persistently(self, deadline: float, ask: Callable[[], Any]) -> Any:
        pause = PAUSE
        while True:
            try:
                return ask()
            except driver.ResponseError as error:
                if "READONLY" not in str(error) and not isinstance(error, driver.ReadOnlyError):
                    raise BrokerUnavailable("the Redis store %s: %s" % (self._address.shown, error)) from error
                reason: Exception = error  # a replica now: the next connection may find the master
            except (driver.RedisError, OSError) as error:
                reason = error
            self._hang_up()
            is_hopeless = isinstance(reason, (driver.TimeoutError, driver.AuthenticationError))
            if is_hopeless or time.monotonic() + pause > deadline:
                said = "the Redis store %s: %s" % (self._address.shown, reason)
                self._failed = time.monotonic() + QUEUE, said
                raise BrokerUnavailable(said) from reason
            time.sleep(pause)
            pause = min(pause * 2, 5 * PAUSE)

    def _run(self, script: Script, values: tuple[Any, ...], deadline: float) -> Any:
        try:
            return self._ask(("EVALSHA", script.hash) + values, deadline)
        except driver.exceptions.NoScriptError:
            return self._ask(("EVAL", script.text) + values, deadline)

    def _ask(self, command: tuple[Any, ...], deadline: float) -> Any:
        if self._connection is None:
            self._connection = self._address.connect(deadline)
        self._connection.send_command(*command)
        if not self._connection.can_read(max(0.0, deadline - time.monotonic())):
            raise driver.TimeoutError("no answer for %g s" % WAIT)
        return self._connection.read_response()

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
