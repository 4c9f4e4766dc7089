"""The store that the parts of the Redis broker share: its two connections for scripts, and what is known of its state.

    {p}:life          hash: epoch, sequence, born, run, voids, forgotten: see ``lua/prelude.lua``; seconds, events,
                      size: how much is kept; at: when the newest event came; kept, bytes: how many events there
                      are, and how many bytes those after ``weighed`` have; live: what is kept for delivery; listed,
                      unlisted: from which sequence on ``lasts`` has every channel
    {p}:c:<channel>   stream: the channel's events, numbered <sequence>-0; field b is the body; l, if there is one, the
                      key of a latest event
    {p}:l:<channel>   hash: key of a latest event -> its sequence
    {p}:firsts        sorted set: channel -> its oldest event that is kept
    {p}:lasts         sorted set: channel -> its newest event
    {p}:floors        sorted set: channel -> its newest event that was trimmed
    {p}:clock         list of "time sequence": which event was the newest at that time; for trimming by age
    {p}:own:firsts, {p}:own:clock   the same for the extension's own channels
    {p}:h:<key>       hash: process -> "slots until"; {p}:holders the same for all keys together
    {p}:shares        hash: process -> "slots until": slots of every key that it may take without a field in
                      {p}:h:<key>; {p}:crowded: keys of which a process that begins a share may get none
    {p}:o:<key>       hash: process -> Unix time of its oldest slot, if it announced it
    {p}:reports       hash: process -> "time figures", its report, in JSON
    {p}:present       hash: process -> "until run token answer": how long its presence counts, which server it
                      announced it to, and what that server answered
    {p}:p:<channel>   hash: "process user" -> streams; {p}:q:<process> set: "channel\\nuser", the same
    {p}:r:<channel>   hash: user -> "change grace process", who is on the roster of a channel, see lua/update_roster.lua
    {p}:absent        sorted set: "channel\\nuser" -> when (ms) somebody on a roster who is away leaves it
    {p}:t:<process>   set: "channel\\nuser", whose changes the process has to announce
    {p}:applications  hash: process -> lines: time, key, script name, name of an application that uses the store without
                      a namespace
    {p}:claim:<key>   exists while the one-time key may not be used again; the token of its use
    {p}:work:<name>, {p}:wants:<name>, {p}:run:<id>, {p}:runs   leases of work and records of runs, see lua/work.lua
    {p}:answers:<process>  hash: slot -> "token epoch sequence time verdict", the last answers to the broker's appends,
                      for 60 s; it has as many slots as the broker had appends at a time
    {p}@<database>:<channel>   the channel on which an event is announced: "mark sequence key\\n" and the body

``{p}`` is ``ssemux``, or the URL's ``?prefix=``, with ``:<namespace>`` if there is one, in braces: one slot of a
cluster. The scripts in ``lua/`` make all changes; ``lua/prelude.lua``, the beginning of each script, detects that a
server which restarted, or a replica which took over, has lost events. No key that holds history expires, so a server
that evicts keys must have ``maxmemory-policy noeviction`` or ``volatile-*``.

A process has three connections, whatever its clients: one to write, one to read, and one that is subscribed to channels
(``subscription``). Nothing here belongs to a single part of the contract.
"""

from __future__ import annotations

import itertools
import threading
from functools import partial
from typing import Any, Callable, NamedTuple, Sequence

from ...errors import BrokerClosed
from ...sse.cursor import Cursor
from ..names import make_random_name
from ..records import HistoryLimits
from . import scripts
from .address import Address
from .connection import ScriptConnection
from .scripts import Script

#: Calls of the reading connection that are sent and not answered at a time: their answers may be large.
READS = 8


class StoreState(NamedTuple):
    """The answer to ``get_newest``.

    :param newest: the newest cursor.
    :param born: the cursor at which the epoch began.
    :param run: the ID of the server that answered.
    :param mark: what announcements begin with: the epoch and, if the sequence has leaped, up to where.
    """

    newest: Cursor
    born: Cursor
    run: str
    mark: str


class RedisStore:
    """Calls scripts, and remembers the newest cursor that this process has seen.

    :param url: see ``Address``.
    :param limits: how much is kept; None keeps what the store says.
    :param namespace: is added to the prefix of the keys.
    :raises ConfigurationError: the URL cannot be understood, or redis-py is missing.
    """

    def __init__(self, url: str, limits: HistoryLimits | None, namespace: str | None = None) -> None:
        self.address = Address(url, namespace)
        self.announced = "{%s}@%d:" % (self.address.prefix, self.address.database)
        self.known = Cursor("", 0)
        self.is_closed = False
        self._state_key = "{%s}:life" % self.address.prefix
        self._limits = ("%r" % limits.seconds, str(limits.events), str(limits.size)) if limits else ("", "", "")
        self._next_epoch = make_random_name()
        self._voids: tuple[str, list[tuple[int, int]]] = ("", [])
        self._tokens = itertools.count(1)
        self._noting = threading.Lock()
        self._writing, self._reading = ScriptConnection(self.address), ScriptConnection(self.address, READS)

    # -- calls -------------------------------------------------------------

    def call(self, script: Script, *values: Any) -> Any:
        """Return a script's answer, from the connection that writes.

        :raises BrokerUnavailable: there was no answer within ``WAIT_SECONDS``.
        """
        self.check_open()
        return self._writing.wait_for_answer(self._writing.submit_call(script, self._state_values() + values))

    def read(self, script: Script, *values: Any) -> Any:
        """Return the answer of a script that only reads.

        :raises BrokerUnavailable: there was no answer within ``WAIT_SECONDS``.
        """
        self.check_open()
        return self._reading.wait_for_answer(self._reading.submit_call(script, self._state_values() + values))

    def submit(self, script: Script, *values: Any) -> Callable[[], Any]:
        """Queue a call behind those that were queued before, at once; return a function that waits for its answer."""
        self.check_open()
        return partial(self._writing.wait_for_answer, self._writing.submit_call(script, self._state_values() + values))

    def make_token(self) -> int:
        """Return a number by which the store recognizes a call that is repeated because its answer never came."""
        return next(self._tokens)

    @property
    def waiting_calls(self) -> int:
        return self._writing.waiting_calls + self._reading.waiting_calls

    def check_open(self) -> None:
        """
        :raises BrokerClosed: the broker is closed.
        """
        if self.is_closed:
            raise BrokerClosed("the broker on %s is closed" % self.address.shown)

    def close(self) -> None:
        self.is_closed = True
        self._writing.close()
        self._reading.close()

    def _state_values(self) -> tuple[Any, ...]:
        """Return the number of keys, the key, and the arguments with which ``prelude.lua`` begins each script."""
        return (1, self._state_key, *self.known, self._next_epoch, *self._limits)

    # -- what is known of the store's state --------------------------------

    def read_state(self) -> StoreState:
        """Ask for the store's state, and remember its voids."""
        answer = self.call(scripts.GET_NEWEST)
        newest = self.note_answer(answer)
        pairs = (pair.split(":") for pair in answer[4].decode("ascii").split())
        voids = [(int(low), int(high)) for low, high in pairs]
        self._voids = newest.epoch, voids
        mark = "%s.%d" % (newest.epoch, voids[-1][1]) if voids else newest.epoch
        return StoreState(newest, Cursor(newest.epoch, int(answer[3])), answer[2].decode("ascii"), mark)

    def has_lost(self, cursor: Cursor) -> bool:
        """See ``EventHistory.has_lost``."""
        epoch, voids = self._voids
        return cursor.epoch == epoch and any(low < cursor.sequence < high for low, high in voids)

    def note_answer(self, answer: Sequence[Any]) -> Cursor:
        """Return the cursor in a script's answer, and remember it."""
        cursor = Cursor(answer[0].decode("ascii"), int(answer[1]))
        with self._noting:
            if cursor.epoch != self.known.epoch:
                self.known = cursor
            if cursor.epoch == self._next_epoch:
                self._next_epoch = make_random_name()
        self.note_cursor(cursor)
        return cursor

    def note_cursor(self, cursor: Cursor) -> None:
        """Remember the newest cursor that this process has seen: it is the proof if the store loses that event."""
        with self._noting:
            if cursor.epoch == self.known.epoch and cursor.sequence > self.known.sequence:
                self.known = cursor
