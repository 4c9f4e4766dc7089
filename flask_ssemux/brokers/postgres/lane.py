"""One of a process's two connections for calls: one caller at a time, until a deadline, and again after it broke.

A connection that was idle may be dead. It is looked at before a call is sent, and asked after ``IDLE`` seconds, so a
restart or a NAT costs no call. If it breaks while a call waits for its answer, only a call is repeated that may be
carried out twice. No SQL of the parts.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import Any, Callable, Iterator, List, Tuple

from ...errors import BrokerClosed, BrokerUnavailable
from ...util import forks
from ..contract import constants
from ..contract.lock import hold_lock
from .address import LEAST, Address
from .connection import Connection
from .refusal import ConnectionLost, ServerError

#: Seconds between two tries to reach a server that is not there: the pause is doubled up to the second one.
PAUSE, LONGEST_PAUSE = 0.02, 0.25

#: Seconds after which a NAT or a firewall may have forgotten a connection that was not used, and the seconds that such
#: a connection has to answer.
IDLE, PROBATION = 5.0, 0.5

#: SQLSTATEs after which a new connection may help: the server is no longer the primary; tables or functions are gone.
NOT_AS_BEFORE = ("25006", "3F000", "42P01", "42883")

Rows = List[Tuple[Any, ...]]


class Lane:
    """A connection and its lock.

    :param address: of the server.
    :param prepare: called with each new connection, and the deadline.
    :param note_error: called with each error that the server answers.
    """

    def __init__(
        self,
        address: Address,
        prepare: Callable[[Connection, float], object],
        note_error: Callable[[ServerError], None],
    ) -> None:
        self._address = address
        self._prepare = prepare
        self._note_error = note_error
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._is_closed = False
        self._deadline = 0.0
        #: Callers that wait for an answer, or for their turn.
        self.waiting_calls = 0

    @contextmanager
    def opened(self, deadline: float | None = None) -> Iterator[Lane]:
        """Hold the lock; ``ask`` is called within.

        :param deadline: of a call that has waited before (monotonic time); by default it has ``WAIT_SECONDS``.
        :raises BrokerUnavailable: others held it for ``WAIT_SECONDS``.
        :raises BrokerClosed: the broker is closed.
        """
        self.waiting_calls += 1
        deadline = deadline or time.monotonic() + constants.WAIT_SECONDS
        try:
            with hold_lock(self._lock, "the PostgreSQL store %s is used" % self._address.shown, deadline):
                self._check_open()
                # A server that works answers in milliseconds; one that hangs may take LEAST seconds more.
                self._deadline = max(deadline, time.monotonic() + LEAST)
                yield self
        finally:
            self.waiting_calls -= 1

    def ask(self, statement: str, values: tuple[Any, ...], may_repeat: bool) -> Rows:
        """Return a statement's rows. With the lock held.

        :param may_repeat: whether the statement does no harm if it is carried out twice.
        :raises BrokerUnavailable: there was no answer in time, or the server refused.
        """
        pause = PAUSE
        while True:
            try:
                return self._ask_once(statement, values)
            except ServerError as error:
                if error.code in NOT_AS_BEFORE:
                    self._disconnect()
                self._note_error(error)
                raise self._address.make_refusal(error) from None
            except ConnectionLost as error:
                self._disconnect()
                self._check_open()
                if (error.was_sent and not may_repeat) or error.is_final or time.monotonic() + pause > self._deadline:
                    raise self._make_refusal(error, may_repeat) from None
            except BaseException:  # such as the end of the caller's greenlet: the answer is still to come
                self._disconnect()
                raise
            forks.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def close(self) -> None:
        """Close the connection: at once, or when its caller has its answer."""
        self._is_closed = True
        if self._lock.acquire(timeout=constants.WAIT_SECONDS):
            self._disconnect()
            self._lock.release()

    # ----------------------------------------------------------------------

    def _ask_once(self, statement: str, values: tuple[Any, ...]) -> Rows:
        connection = self._find_connection()
        try:
            return connection.ask_prepared(statement, values, self._deadline)
        except UnicodeEncodeError as error:
            raise ServerError("22021", "a text cannot be encoded: %s" % error.reason) from None

    def _find_connection(self) -> Connection:
        """Return a connection that was just seen to work.

        :raises ConnectionLost: there is none; nothing was sent.
        """
        if self._connection is not None and not self._is_alive(self._connection):
            self._disconnect()
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _is_alive(self, connection: Connection) -> bool:
        try:
            if connection.is_readable():
                return False
            if time.monotonic() - connection.used_at > IDLE:
                connection.ask("SELECT 1", (), time.monotonic() + PROBATION)
            return True
        except (ConnectionLost, ServerError):
            return False

    def _connect(self) -> Connection:
        connection = self._address.connect(self._deadline)
        try:
            self._prepare(connection, self._deadline)
            return connection
        except ConnectionLost as error:
            connection.close()
            raise ConnectionLost(str(error)) from None  # nothing of the caller's was sent
        except BaseException:
            connection.close()
            raise

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise BrokerClosed("the broker on %s is closed" % self._address.shown)

    def _make_refusal(self, error: ConnectionLost, may_repeat: bool) -> BrokerUnavailable:
        if error.was_sent and not may_repeat:
            return self._address.make_refusal("%s; it is not known whether the call was carried out" % error)
        return self._address.make_refusal(error)
