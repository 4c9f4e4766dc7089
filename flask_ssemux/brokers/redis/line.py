"""One connection to a Redis server, shared by all callers: their calls are sent together, and answered in order.

One of the callers that wait leads: only it touches the connection. It sends what all have asked since, and hands out
the answers, until it has its own; then another leads. So many calls take one way there and back, however far away
the server is. No call is asked on a connection without a word that may be dead: one that was idle has ``LOOK`` seconds
to answer. A call may be run twice, where its first answer never came; scripts see to that.

Nothing about events, and no URL.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from typing import Any

from ...util import forks
from ..base import WAIT
from .address import LEAST, Address, driver
from .scripts import Script
from .trouble import refusal

#: Seconds between two tries to reach a server that is not there.
PAUSE = 0.05

#: Seconds after which a connection that nobody used may have been forgotten by something in between, as a NAT.
IDLE = 5.0

#: Seconds that such a connection has to answer; then the call is asked again on a new one.
LOOK = 0.5

#: Calls that wait for their answers at a time, at most: two seconds' work of a Redis server.
MOST = 20000

#: Calls that are sent and not answered, at most.
WINDOW = 500

#: Bytes after which no more is sent together.
FLUSH = 1024 * 1024

_NONE = object()


class Call:
    """What one caller asked.

    :param deadline: until when its caller waits.
    """

    __slots__ = ("answer", "deadline", "is_abandoned", "script", "turn", "values", "was_sent")

    def __init__(self, script: Script, values: tuple[Any, ...], deadline: float) -> None:
        self.script = script
        self.values = values
        self.deadline = deadline
        self.answer: Any = _NONE
        #: Set when there is an answer, or when its caller is to lead.
        self.turn: threading.Event | None = None
        self.is_abandoned = False
        self.was_sent = False

    def give_time(self, now: float) -> None:
        """It is sent: if it waited long for that, as in a busy loop, its answer has some time all the same."""
        if not self.was_sent:
            self.was_sent, self.deadline = True, max(self.deadline, now + WAIT / 2)

    @property
    def is_done(self) -> bool:
        return self.answer is not _NONE

    def finish(self, answer: Any) -> None:
        self.answer = answer
        if self.turn is not None:
            self.turn.set()


class Line:
    """Calls scripts; a server that went away is connected anew.

    :param address: of the server.
    :param window: calls that are sent and not answered, at most: few where answers are large.
    """

    def __init__(self, address: Address, window: int = WINDOW) -> None:
        self._address = address
        self._window = window
        self._lock = threading.Lock()
        self._unsent: deque[Call] = deque()
        self._sent: deque[Call] = deque()
        self._is_led = False
        self._is_to_close = False
        # The leader's alone.
        self._connection: Any = None
        self._loaded: set[str] = set()
        self._used_at = 0.0
        self._doubted_until: float | None = None
        self._pause = PAUSE

    @property
    def waiting(self) -> int:
        """Calls that have no answer yet."""
        return len(self._unsent) + len(self._sent)

    def submit(self, script: Script, values: tuple[Any, ...]) -> Call:
        """Put a call in the queue, behind those that were submitted before; returns at once. ``result`` sends it.

        :param values: the number of its keys, these, and its arguments.
        :raises BrokerUnavailable: too many wait already.
        """
        call = Call(script, values, time.monotonic() + WAIT)
        with self._lock:
            if self.waiting >= MOST:
                raise refusal(self._address.shown, "%d calls wait for it already" % MOST)
            self._unsent.append(call)
        return call

    def result(self, call: Call) -> Any:
        """The answer to a call that was submitted; waits for it.

        :raises BrokerUnavailable: there was none in its time.
        """
        while not call.is_done:
            if self._takes_lead(call):
                self._lead(call)
            else:
                self._follow(call)
        if isinstance(call.answer, Exception):
            raise call.answer
        return call.answer

    def close(self) -> None:
        """Let go of the connection, at once or when its last caller has its answer; a later call opens another."""
        with self._lock:
            self._is_to_close = self._is_led
            if not self._is_led:
                self._hang_up()

    # -- who leads ---------------------------------------------------------

    def _takes_lead(self, call: Call) -> bool:
        with self._lock:
            if self._is_led or call.is_done:
                call.turn = call.turn or threading.Event()
                call.turn.clear()
                return False
            self._is_led = True
            return True

    def _follow(self, call: Call) -> None:
        assert call.turn is not None
        try:
            # Its answer may have come between the two lines above. No leader forgets a call: the time is a last resort.
            born = forks.generation
            if not call.is_done:
                call.turn.wait(WAIT)
            forks.halt_copy(born)
        except BaseException:
            call.is_abandoned = True
            with self._lock:
                if not self._is_led:
                    self._wake_next()
            raise

    def _lead(self, call: Call) -> None:
        try:
            while not call.is_done:
                self._exchange()
            self._drain()
        except BaseException:
            call.is_abandoned = True
            self._break_off()  # a time-out of the caller's, or its end: answers are still to come
            raise
        finally:
            with self._lock:
                self._is_led = False
                self._wake_next()
                if self._is_to_close and not self.waiting:
                    self._is_to_close = False
                    self._hang_up()

    def _wake_next(self) -> None:
        """Have somebody lead who waits. With the lock held."""
        for calls in (self._sent, self._unsent):
            for call in calls:
                if call.turn is not None and not call.is_abandoned:
                    call.turn.set()
                    return

    # -- what the leader does ----------------------------------------------

    def _exchange(self) -> None:
        """Send what waits, and take an answer."""
        born = forks.generation
        try:
            self._drop_late()
            if self._connection is None and self.waiting:
                self._connect()
            self._send()
            if self._sent:
                self._receive()
        except (driver.RedisError, OSError) as error:
            forks.halt_copy(born)  # in a child the connection broke
            self._recover(error)

    def _drain(self) -> None:
        """Hand out the answers that are there: in a busy loop each new leader would wait for its turn."""
        try:
            while self._sent and self._connection.can_read(0):
                self._receive()
        except (driver.RedisError, OSError):
            self._break_off()

    def _drop_late(self) -> None:
        """Calls that could not be sent in their time; they are in the order of their deadlines."""
        now = time.monotonic()
        if self._unsent and self._unsent[0].deadline < now:
            self._fail_before(now, "busy for %g s" % WAIT)

    def _connect(self) -> None:
        self._connection = self._address.connect(self._unsent[0].deadline)
        self._loaded.clear()
        self._doubted_until = None
        self._used_at = time.monotonic()

    def _send(self) -> None:
        pieces: list[bytes] = []
        now = time.monotonic()
        with self._lock:
            size = 0
            while self._unsent and len(self._sent) < self._window and size < FLUSH:
                call = self._unsent.popleft()
                if not call.is_abandoned:
                    size += self._pack(call, pieces)
                    call.give_time(now)
        if pieces:
            if now - self._used_at > IDLE and self._doubted_until is None:
                self._doubted_until = now + LOOK
            self._connection.send_packed_command([b"".join(pieces)])

    def _pack(self, call: Call, pieces: list[bytes]) -> int:
        """How many bytes that is."""
        try:
            pieces.append(packed(self._command(call.script) + call.values))
            self._sent.append(call)
            return len(pieces[-1])
        except Exception as error:  # the caller's values: nobody else's fault
            call.finish(error)
            return 0

    def _command(self, script: Script) -> tuple[str, str]:
        """By its hash where this connection has sent its text: the server knows it then, and the order is kept."""
        if script.hash in self._loaded:
            return "EVALSHA", script.hash
        self._loaded.add(script.hash)
        return "EVAL", script.text

    def _receive(self) -> None:
        until = self._sent[0].deadline
        if self._doubted_until is not None:
            until = min(until, self._doubted_until)
        if not self._connection.can_read(max(0.0, until - time.monotonic())):
            raise driver.TimeoutError("no answer for %g s" % WAIT)
        answer = self._read()
        self._used_at, self._doubted_until, self._pause = time.monotonic(), None, PAUSE
        with self._lock:
            self._sent.popleft().finish(answer)

    def _read(self) -> Any:
        try:
            return self._connection.read_response()
        except driver.ResponseError as error:
            if _is_of_connection(error):
                raise
            return refusal(self._address.shown, error)

    def _recover(self, error: Exception) -> None:
        """The connection failed: what has time left is asked again on a new one, after a pause where that may help."""
        was_doubted = self._doubted_until is not None
        self._break_off()
        now = time.monotonic()
        if isinstance(error, driver.AuthenticationError) or _is_of_login(error):
            self._fail_before(math.inf, error)
        elif isinstance(error, driver.TimeoutError):
            self._fail_before(now + LEAST / 2, error)
        elif not was_doubted and not isinstance(error, driver.exceptions.NoScriptError):
            self._fail_before(now + self._pause, error)
            if self.waiting:
                forks.sleep(self._pause)
                self._pause = min(self._pause * 2, 5 * PAUSE)

    def _fail_before(self, moment: float, error: object) -> None:
        """End the calls that are not sent and whose time is over then."""
        with self._lock:
            for call in self._unsent:
                if call.deadline < moment:
                    call.finish(refusal(self._address.shown, error))
            self._unsent = deque(call for call in self._unsent if not call.is_done)

    def _break_off(self) -> None:
        """Hang up; what was sent and not answered is sent again, in its order and before all else."""
        self._hang_up()
        with self._lock:
            left = [call for call in (*self._sent, *self._unsent) if not call.is_abandoned]
            self._sent.clear()
            self._unsent = deque(left)

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()


def _is_of_connection(error: Exception) -> bool:
    """Whether another connection may answer otherwise: a master that is a replica now, a server without the script."""
    return "READONLY" in str(error) or isinstance(error, (driver.ReadOnlyError, driver.exceptions.NoScriptError))


def _is_of_login(error: Exception) -> bool:
    """Whether the server refused the connection's first commands."""
    return isinstance(error, driver.ResponseError) and not _is_of_connection(error)


def packed(command: tuple[Any, ...]) -> bytes:
    """A command as Redis's protocol has it; redis-py's own takes five times as long."""
    parts = [b"*%d\r\n" % len(command)]
    for value in command:
        data = value if type(value) is bytes else str(value).encode("utf-8")
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)
