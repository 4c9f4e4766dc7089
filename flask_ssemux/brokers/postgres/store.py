"""The store that the parts of the PostgreSQL broker share: its two connections, and what is known of its state.

A process has three connections, whatever its clients: one that changes the store, one that only reads, and one that
listens (``delivery``). A process that only publishes has the first one alone. The tables are described in
``sql/tables.sql``.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import Any, Callable, Iterator, NamedTuple

from ...sse.cursor import Cursor
from ..contract import constants
from ..records import HistoryLimits
from .address import Address
from .connection import Connection
from .lane import NOT_AS_BEFORE, Lane, Rows
from .refusal import ServerError
from .schema import prepare_schema, quote_name

#: Events of the application's transactions that are placed at a time.
PLACED = 500


class StoreState(NamedTuple):
    """The answer to ``read_state``.

    :param newest: the newest cursor.
    :param born: the cursor at which the epoch began.
    """

    newest: Cursor
    born: Cursor


class PostgresStore:
    """Calls functions of the database, and remembers the newest cursor that this process has seen.

    :param url: see ``PostgresURL``.
    :param limits: how much is kept; None keeps what the store says.
    :param namespace: is added to the name of the schema.
    :param is_look: make no tables.
    :raises ConfigurationError: the URL cannot be understood, or psycopg is missing.
    """

    def __init__(
        self, url: str, limits: HistoryLimits | None, namespace: str | None = None, is_look: bool = False
    ) -> None:
        self.address = Address(url, namespace)
        self.is_closed = False
        self.known = Cursor("", 0)
        self._schema = quote_name(self.address.schema)
        self._limits = limits
        self._is_look = is_look
        #: Whether this process has seen the tables.
        self.is_prepared = False
        self._voids: tuple[str, list[tuple[int, int]]] = ("", [])
        self._noting = threading.Lock()
        self._writing, self._reading = (Lane(self.address, self.prepare, self.note_error) for _ in range(2))

    # -- calls -------------------------------------------------------------

    def call(self, function: str, *values: Any, may_repeat: bool = False, deadline: float | None = None) -> Rows:
        """Return the rows of a function that changes the store.

        :param may_repeat: whether it does no harm if it is carried out twice.
        :param deadline: of a call that has waited before (monotonic time).
        :raises BrokerUnavailable: there was no answer within ``WAIT_SECONDS``.
        """
        with self.changing(deadline) as call:
            return call(function, *values, may_repeat=may_repeat)

    @contextmanager
    def changing(self, deadline: float | None = None) -> Iterator[Callable[..., Rows]]:
        """Give a function as ``call``, while no other thread changes the store through this process.

        :param deadline: of a call that has waited before (monotonic time).
        """
        with self._writing.opened(deadline) as lane:

            def call(function: str, *values: Any, may_repeat: bool = False) -> Rows:
                return lane.ask(self.make_statement(function, len(values)), values, may_repeat)

            yield call

    def read(self, function: str, *values: Any) -> Rows:
        """Return the rows of a function that only reads.

        :raises BrokerUnavailable: there was no answer within ``WAIT_SECONDS``.
        """
        with self._reading.opened() as lane:
            return lane.ask(self.make_statement(function, len(values)), values, True)

    def make_statement(self, function: str, count: int) -> str:
        """Return the SQL that calls a function with so many values."""
        return "SELECT * FROM %s.%s(%s)" % (
            self._schema, function, ", ".join("$%d" % number for number in range(1, count + 1))
        )  # fmt: skip

    @property
    def waiting_calls(self) -> int:
        return self._writing.waiting_calls + self._reading.waiting_calls

    def close(self) -> None:
        self.is_closed = True
        self._writing.close()
        self._reading.close()

    def prepare(self, connection: Connection, deadline: float) -> StoreState:
        """Prepare a new connection, and return the store's state. The process's first one also prepares the tables."""
        if not self.is_prepared:
            prepare_schema(connection, self.address, deadline, self._is_look)
            if self._limits is not None and not self._is_look:
                connection.ask(self.make_statement("set_limits", 3), self._limits, deadline)
            self.is_prepared = True
        return self.read_state_on(connection, deadline)

    def note_error(self, error: ServerError) -> None:
        """If the tables were dropped, the next connection makes them again."""
        if error.code in NOT_AS_BEFORE:
            self.is_prepared = False

    def place_events(self, call: Callable[..., Rows]) -> int:
        """Give events of the application's transactions their place in the order; return how many, ``PLACED`` at most.

        :param call: calls a function of the database.
        """
        ((placed,),) = call("place_events", PLACED, constants.OWN_EVENTS, self.address.commit_mode)
        return int(placed)

    # -- what is known of the store's state --------------------------------

    def read_state(self) -> StoreState:
        """Ask for the store's state, and remember its voids."""
        return self._note_state(self.call("read_state", *self.known, may_repeat=True))

    def read_state_on(self, connection: Connection, deadline: float) -> StoreState:
        """The same, on a connection of the caller's."""
        return self._note_state(connection.ask_prepared(self.make_statement("read_state", 2), self.known, deadline))

    def _note_state(self, rows: Rows) -> StoreState:
        ((epoch, newest, born, voids),) = rows
        pairs = (pair.split(":") for pair in voids.split())
        self._voids = epoch, [(int(low), int(high)) for low, high in pairs]
        return StoreState(self.note_cursor(Cursor(epoch, newest)), Cursor(epoch, born))

    def has_lost(self, cursor: Cursor) -> bool:
        """See ``EventHistory.has_lost``."""
        epoch, voids = self._voids
        return cursor.epoch == epoch and any(low < cursor.sequence < high for low, high in voids)

    def note_cursor(self, cursor: Cursor) -> Cursor:
        """Remember the newest cursor that this process has seen: it is the proof if the store loses that event."""
        with self._noting:
            if cursor.epoch != self.known.epoch or cursor.sequence > self.known.sequence:
                self.known = cursor
        return cursor
