"""One connection to a Redis server, shared by all callers: their calls are sent together, and answered in order.

One of the waiting callers leads: only the leader touches the connection. It sends what all callers have submitted, and
hands out the answers until it has its own; then another caller leads. So many calls share one round trip, however far
away the server is. A connection that was idle may be dead: it has ``PROBATION`` seconds to answer, then the calls are
sent on a new one. A call may be run twice if its first answer never came; scripts recognize it.

Nothing about events, and no URL.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from typing import Any

from ...util import forks
from ..contract import constants
from .address import LEAST, Address
from .driver import driver
from .link import pack_command
from .scripts import Script

#: Seconds between two tries to reach a server that is not there.
PAUSE = 0.05

#: Seconds after which a NAT or a firewall may have forgotten a connection that was not used.
IDLE = 5.0

#: Seconds that such a connection has to answer; then the call is sent again on a new one.
PROBATION = 0.5

#: Calls that may wait for their answers at a time: two seconds' work of a Redis server.
MAX_WAITING = 20000

#: Calls that may be sent and not answered at a time.
WINDOW = 500

#: Bytes after which a batch of calls is sent.
FLUSH = 1024 * 1024

_NONE = object()


class Call:
    """One script to call.

    :param deadline: until when its caller waits.
    """

    __slots__ = ("answer", "deadline", "is_abandoned", "script", "turn", "values", "was_sent")

    def __init__(self, script: Script, values: tuple[Any, ...], deadline: float) -> None:
        self.script = script
        self.values = values
        self.deadline = deadline
        self.answer: Any = _NONE
        #: Set when there is an answer, or when its caller must lead.
        self.turn: threading.Event | None = None
        self.is_abandoned = False
        self.was_sent = False

    def extend_deadline(self, now: float) -> None:
        """Note that the call is sent now. Extend its deadline if little time is left for the answer."""
        if not self.was_sent:
            self.was_sent, self.deadline = True, max(self.deadline, now + constants.WAIT_SECONDS / 2)

    @property
    def is_done(self) -> bool:
        return self.answer is not _NONE

    def finish(self, answer: Any) -> None:
        self.answer = answer
        if self.turn is not None:
            self.turn.set()


class ScriptConnection:
    """Calls scripts; connects again when the server went away.

    :param address: of the server.
    :param window: calls that may be sent and not answered at a time: few if answers are large.
    """

    def __init__(self, address: Address, window: int = WINDOW) -> None:
        self._address = address
        self._window = window
        self._lock = threading.Lock()
        self._unsent: deque[Call] = deque()
        self._sent: deque[Call] = deque()
        self._is_led = False
        self._is_to_close = False
        # Only the leader uses these.
        self._connection: Any = None
        self._loaded: set[str] = set()
        self._used_at = 0.0
        self._doubted_until: float | None = None
        self._pause = PAUSE

    @property
    def waiting_calls(self) -> int:
        """Calls that have no answer yet."""
        return len(self._unsent) + len(self._sent)

    def submit_call(self, script: Script, values: tuple[Any, ...]) -> Call:
        """Put a call in the queue, behind those that were submitted before; return at once. ``wait_for_answer`` sends
        it.

        :param values: the number of its keys, these, and its arguments.
        :raises BrokerUnavailable: too many wait already.
        """
        call = Call(script, values, time.monotonic() + constants.WAIT_SECONDS)
        with self._lock:
            if self.waiting_calls >= MAX_WAITING:
                raise self._address.make_refusal("%d calls wait for it already" % MAX_WAITING)
            self._unsent.append(call)
        return call

    def wait_for_answer(self, call: Call) -> Any:
        """Return the answer to a call that was submitted; wait for it.

        :raises BrokerUnavailable: there was no answer before the call's deadline.
        """
        while not call.is_done:
            if self._take_lead(call):
                self._lead(call)
            else:
                self._follow(call)
        if isinstance(call.answer, Exception):
            raise call.answer
        return call.answer

    def close(self) -> None:
        """Close the connection, at once or when its last caller has its answer; a later call opens another."""
        with self._lock:
            self._is_to_close = self._is_led
            if not self._is_led:
                self._disconnect()

    # -- leading ------------------------------------------------------------

    def _take_lead(self, call: Call) -> bool:
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
            # Its answer may have come between the two lines above. No leader forgets a call: the time limit is a last
            # resort.
            born = forks.generation
            if not call.is_done:
                call.turn.wait(constants.WAIT_SECONDS)
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
            self._receive_ready()
        except BaseException:
            call.is_abandoned = True
            self._requeue()  # the caller's time-out, or its end: answers are still to come
            raise
        finally:
            with self._lock:
                self._is_led = False
                self._wake_next()
                if self._is_to_close and not self.waiting_calls:
                    self._is_to_close = False
                    self._disconnect()

    def _wake_next(self) -> None:
        """Let one of the waiting callers lead. With the lock held."""
        for calls in (self._sent, self._unsent):
            for call in calls:
                if call.turn is not None and not call.is_abandoned:
                    call.turn.set()
                    return

    # -- what the leader does ----------------------------------------------

    def _exchange(self) -> None:
        """Send the calls that wait, and receive an answer."""
        born = forks.generation
        try:
            self._fail_late()
            if self._connection is None and self.waiting_calls:
                self._connect()
            self._send()
            if self._sent:
                self._receive()
        except (driver.RedisError, OSError) as error:
            forks.halt_copy(born)  # in a forked child, this error comes from the connection that the fork replaced
            self._recover(error)

    def _receive_ready(self) -> None:
        """Hand out the answers that have come: in a busy loop each new leader would wait for its turn."""
        try:
            while self._sent and self._connection.can_read(0):
                self._receive()
        except (driver.RedisError, OSError):
            self._requeue()

    def _fail_late(self) -> None:
        """Fail the calls whose deadlines passed before they could be sent. The queue is ordered by deadline."""
        now = time.monotonic()
        if self._unsent and self._unsent[0].deadline < now:
            self._fail_before(now, "busy for %g s" % constants.WAIT_SECONDS)

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
                    size += self._add_call(call, pieces)
                    call.extend_deadline(now)
        if pieces:
            if now - self._used_at > IDLE and self._doubted_until is None:
                self._doubted_until = now + PROBATION
            self._connection.send(b"".join(pieces))

    def _add_call(self, call: Call, pieces: list[bytes]) -> int:
        """Append the call's bytes; return how many they are."""
        try:
            pieces.append(pack_command(self._choose_command(call.script) + call.values))
            self._sent.append(call)
            return len(pieces[-1])
        except Exception as error:  # the caller's values are to blame
            call.finish(error)
            return 0

    def _choose_command(self, script: Script) -> tuple[str, str]:
        """Call a script by its hash if this connection has sent its text before: then the server knows it."""
        if script.hash in self._loaded:
            return "EVALSHA", script.hash
        self._loaded.add(script.hash)
        return "EVAL", script.text

    def _receive(self) -> None:
        until = self._sent[0].deadline
        if self._doubted_until is not None:
            until = min(until, self._doubted_until)
        if not self._connection.can_read(max(0.0, until - time.monotonic())):
            raise driver.TimeoutError("no answer for %g s" % constants.WAIT_SECONDS)
        answer = self._read(self._sent[0].values)
        self._used_at, self._doubted_until, self._pause = time.monotonic(), None, PAUSE
        with self._lock:
            self._sent.popleft().finish(answer)

    def _read(self, values: tuple[Any, ...]) -> Any:
        """Return the next answer.

        :param values: what its call sent.
        """
        try:
            return self._connection.read_answer()
        except driver.ResponseError as error:
            if self._address.must_connect_again(error):
                raise
            return self._address.make_refusal(error, values)

    def _recover(self, error: Exception) -> None:
        """The connection failed: send calls that have time left again on a new one, after a pause if that may help."""
        was_doubted = self._doubted_until is not None
        self._requeue()
        self._address.note_failure(error)
        now = time.monotonic()
        if isinstance(error, driver.AuthenticationError) or self._is_login_error(error):
            self._fail_before(math.inf, error)
        elif isinstance(error, driver.TimeoutError):
            self._fail_before(now + LEAST / 2, error)
        elif not was_doubted and not isinstance(error, driver.exceptions.NoScriptError):
            self._fail_before(now + self._pause + PAUSE, error)  # the new connection takes time, too
            if self.waiting_calls:
                forks.sleep(self._pause)
                self._pause = min(self._pause * 2, 5 * PAUSE)

    def _is_login_error(self, error: Exception) -> bool:
        """Return whether the server refused the connection's first commands."""
        return isinstance(error, driver.ResponseError) and not self._address.must_connect_again(error)

    def _fail_before(self, moment: float, error: object) -> None:
        """Fail the calls that are not sent and whose deadline is before this moment."""
        with self._lock:
            for call in self._unsent:
                if call.deadline < moment:
                    call.finish(self._address.make_refusal(error, call.values))
            self._unsent = deque(call for call in self._unsent if not call.is_done)

    def _requeue(self) -> None:
        """Disconnect; calls that were sent and not answered will be sent again, in their order and before all
        others."""
        self._disconnect()
        with self._lock:
            left = [call for call in (*self._sent, *self._unsent) if not call.is_abandoned]
            self._sent.clear()
            self._unsent = deque(left)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
