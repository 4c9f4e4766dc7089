"""One open connection: sends a statement, waits for its result until a deadline, and receives notifications.

libpq handles the protocol, TLS and logins; psycopg's ``pq`` module makes it callable. Its own ``execute`` has no
deadline that also holds while the network is silent, so the waiting is done here, with ``select.poll``, which gevent
patches. A connection is used by one caller at a time. Statements that are used repeatedly are prepared. No URL.
"""

from __future__ import annotations

import hashlib
import os
import select
import socket
import time
import weakref
from typing import Any, Sequence

from ...util import forks
from .refusal import ConnectionLost, ServerError
from .values import decode_rows, encode_value

driver: Any = None
try:
    import psycopg.pq

    driver = psycopg
except ImportError:  # an extra: ``Address`` raises an error that names it
    pass

_READ, _WRITE = 1, 4  # POLLIN, POLLOUT

#: A connection prepares a statement when it uses it for the time of this number. From then on the server does not parse
#: it any more; it plans it five more times.
PREPARED_AT = 3

#: SQLSTATEs of a server that refuses a prepared statement: it does not know it, or a migration has changed its result.
#: Nothing was carried out.
NOT_PREPARED = ("26000", "0A000")

#: The SQLSTATE for a statement of this name that exists already. It is the same one: its text makes the name.
EXISTS_ALREADY = "42P05"


class Connection:
    """An open connection, made by ``open_connection``.

    :param pgconn: libpq's connection.
    """

    def __init__(self, pgconn: Any) -> None:
        self._pgconn = pgconn
        pgconn.nonblocking = 1
        #: When the server answered last (monotonic time).
        self.used_at = time.monotonic()
        #: How often each statement was used, and the names of those that are prepared.
        self._uses: dict[str, int] = {}
        self._prepared: dict[str, bytes] = {}
        self._may_prepare = True

    @property
    def server_version(self) -> int:
        return int(self._pgconn.server_version)

    def ask(self, statement: str, values: Sequence[Any], deadline: float) -> list[tuple[Any, ...]]:
        """Return the rows of one statement's result.

        :raises ServerError: the server refused the statement.
        :raises ConnectionLost: it did not answer before the deadline, or the connection broke. It is of no more use.
        """
        parameters, formats = _encode_values(values)
        self._call(self._pgconn.send_query_params, statement.encode("utf-8"), parameters, None, formats, 1)
        return decode_rows(self._receive(deadline))

    def ask_prepared(self, statement: str, values: Sequence[Any], deadline: float) -> list[tuple[Any, ...]]:
        """Do as ``ask`` does; the statement is one of few that are used repeatedly."""
        if self._is_prepared(statement, deadline):
            try:
                return self._execute(statement, values, deadline)
            except ServerError as error:
                if error.code not in NOT_PREPARED:
                    raise
                self._may_prepare = False
        return self.ask(statement, values, deadline)

    def is_direct(self, deadline: float) -> bool:
        """Return whether the server itself is at the other end, not a pooler, which may use another of the server's
        processes for each transaction."""
        ((pid,),) = self.ask("SELECT pg_backend_pid()", (), deadline)
        return bool(pid == self._pgconn.backend_pid)

    def run_script(self, script: str, deadline: float) -> None:
        """Run several statements in one transaction; raises as ``ask`` does."""
        self._call(self._pgconn.send_query, script.encode("utf-8"))
        self._receive(deadline)

    def wait_for_notifications(self, seconds: float) -> list[str]:
        """Return the payloads of the notifications that came; wait for the first one so long.

        :raises ConnectionLost: the connection broke.
        """
        found = self._take_notifications()
        if not found and self._poll(_READ, seconds):
            self._call(self._pgconn.consume_input)
            self.used_at = time.monotonic()
            found = self._take_notifications()
        return found

    def _take_notifications(self) -> list[str]:
        found: list[str] = []
        while True:
            notification = self._call(self._pgconn.notifies)
            if notification is None:
                return found
            found.append(notification.extra.decode("utf-8"))

    def is_readable(self) -> bool:
        """Return whether something came that nobody asked for: the server has closed the connection."""
        return bool(self._poll(_READ, 0))

    def interrupt(self) -> None:
        """Break the connection, from another thread: whoever waits for it gets ``ConnectionLost`` at once."""
        try:
            with socket.socket(fileno=os.dup(self._pgconn.socket)) as copy:
                copy.shutdown(socket.SHUT_RDWR)
        except Exception:  # it is closed already
            pass

    def close(self) -> None:
        self._pgconn.finish()

    # -- prepared statements -----------------------------------------------

    def _is_prepared(self, statement: str, deadline: float) -> bool:
        """Return whether the statement is prepared; prepare it if it has come often enough.

        :raises ConnectionLost: the connection broke meanwhile: the statement itself was not sent.
        """
        if statement in self._prepared or not self._may_prepare:
            return self._may_prepare
        self._uses[statement] = uses = self._uses.get(statement, 0) + 1
        if uses < PREPARED_AT:
            return False
        try:
            self._prepare(statement, deadline)
        except ConnectionLost as error:
            raise ConnectionLost(str(error)) from None
        return self._may_prepare

    def _prepare(self, statement: str, deadline: float) -> None:
        self._may_prepare = bool(self._prepared) or self.is_direct(deadline)
        if self._may_prepare:
            text = statement.encode("utf-8")
            name = b"ssemux_" + hashlib.sha256(text).hexdigest()[:16].encode()
            self._call(self._pgconn.send_prepare, name, text)
            try:
                self._receive(deadline)
            except ServerError as error:
                if error.code != EXISTS_ALREADY:
                    raise
            self._prepared[statement] = name

    def _execute(self, statement: str, values: Sequence[Any], deadline: float) -> list[tuple[Any, ...]]:
        parameters, formats = _encode_values(values)
        self._call(self._pgconn.send_query_prepared, self._prepared[statement], parameters, formats, 1)
        return decode_rows(self._receive(deadline))

    # ----------------------------------------------------------------------

    def _receive(self, deadline: float) -> Any:
        """Send what is queued; return the last result.

        :raises ServerError: one of the results is an error.
        """
        pgconn = self._pgconn
        while self._call(pgconn.flush):
            if self._wait(_READ | _WRITE, deadline) & _READ:
                self._call(pgconn.consume_input)
        last = failure = None
        while True:
            while self._call(pgconn.is_busy):
                self._wait(_READ, deadline)
                self._call(pgconn.consume_input)
            result = self._call(pgconn.get_result)
            if result is None:
                self.used_at = time.monotonic()
                if failure is not None:
                    raise failure
                return last
            last, failure = result, failure or self._find_failure(result)

    def _find_failure(self, result: Any) -> Exception | None:
        if result.status in (driver.pq.ExecStatus.TUPLES_OK, driver.pq.ExecStatus.COMMAND_OK):
            return None
        fields = driver.pq.DiagnosticField
        code = (result.error_field(fields.SQLSTATE) or b"").decode("ascii", "replace")
        text = (result.error_field(fields.MESSAGE_PRIMARY) or result.error_message or b"").decode("utf-8", "replace")
        if not code or code.startswith(("57P", "08")):  # the server ends the connection
            return ConnectionLost(text, was_sent=True)
        return ServerError(code, text)

    def _call(self, function: Any, *values: Any) -> Any:
        try:
            return function(*values)
        except driver.Error as error:
            raise ConnectionLost(str(error), was_sent=True) from None

    def _wait(self, mask: int, deadline: float) -> int:
        ready = self._poll(mask, max(0.0, deadline - time.monotonic()))
        if not ready:
            raise ConnectionLost("no answer in time", was_sent=True)
        return ready

    def _poll(self, mask: int, seconds: float) -> int:
        born = forks.generation
        file = self._pgconn.socket if self._pgconn.status == driver.pq.ConnStatus.OK else -1
        if file < 0:
            raise ConnectionLost("the connection was lost", was_sent=True)
        ready = poll_file(file, mask, seconds)
        forks.halt_copy(born)
        return ready


def _encode_values(values: Sequence[Any]) -> tuple[list[bytes | None], list[int]]:
    """Return parameters, and the format of each."""
    encoded = [encode_value(value) for value in values]
    return [value for value, _ in encoded], [form for _, form in encoded]


def open_connection(conninfo: str, deadline: float) -> Connection:
    """Return a new connection.

    :param conninfo: libpq's connection string, with one server.
    :raises ConnectionLost: it could not be made before the deadline.
    """
    try:
        pgconn = driver.pq.PGconn.connect_start(conninfo.encode("utf-8"))
    except driver.Error as error:
        raise ConnectionLost(str(error)) from None
    _connections.add(pgconn)
    try:
        _finish_connecting(pgconn, deadline)
        return Connection(pgconn)
    except BaseException:
        pgconn.finish()
        raise


def _finish_connecting(pgconn: Any, deadline: float) -> None:
    polling, born = driver.pq.PollingStatus, forks.generation
    state = polling.WRITING
    while True:
        if pgconn.status == driver.pq.ConnStatus.BAD or state == polling.FAILED:
            raise ConnectionLost(pgconn.error_message.decode("utf-8", "replace"))
        if state == polling.OK:
            return
        left = deadline - time.monotonic()
        mask = _READ if state == polling.READING else _WRITE
        if left <= 0 or not poll_file(pgconn.socket, mask, left):
            raise ConnectionLost("no answer in time to a new connection")
        forks.halt_copy(born)
        state = pgconn.connect_poll()


def poll_file(file: int, mask: int, seconds: float) -> int:
    """Wait until a file is readable or writable; return which, 0 if neither in these seconds."""
    if not hasattr(select, "poll"):  # Windows
        found = select.select([file] if mask & _READ else [], [file] if mask & _WRITE else [], [], seconds)
        return (_READ if found[0] else 0) | (_WRITE if found[1] else 0)
    poll = select.poll()
    poll.register(file, (select.POLLIN if mask & _READ else 0) | (select.POLLOUT if mask & _WRITE else 0))
    events = poll.poll(seconds * 1000)
    return sum({mask if event & ~(_READ | _WRITE) else event & (_READ | _WRITE) for _, event in events})


_connections: weakref.WeakSet[Any] = weakref.WeakSet()


def _close_inherited() -> None:
    """In a forked child: the connections are the parent's. A copied greenlet that waits for an answer reads their
    end."""
    for pgconn in list(_connections):
        try:
            forks.replace_file(pgconn.socket)
        except driver.Error:  # it was closed
            pass


forks.call_in_child(_close_inherited, forks.FILES)
