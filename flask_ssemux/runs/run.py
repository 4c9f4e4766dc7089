"""``Run``, a run as applications see it, in whichever process it is executed. What is done stands in ``host.py``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..brokers import RUN_PREFIX
from ..util import forks
from .details import END_STATES, RunDetails

if TYPE_CHECKING:
    from .host import RunHost

#: Seconds between two looks for the end of a run that another process executes.
POLL = 0.25


class Run:
    """One execution of a generator that publishes what it yields, apart from any client.

    :ivar id: 23 characters that nobody can guess and that need no quoting in a URL, str.
    :ivar owner: the id of the user who may read it, str; None: whoever knows the id.
    :ivar data: what ``start_run`` was called with.
    """

    def __init__(self, host: RunHost, run_id: str, details: RunDetails) -> None:
        self._host = host
        self.id = run_id
        self.owner = details.owner
        self.data: Any = details.data

    def __repr__(self) -> str:
        return "<Run %s>" % self.id

    @property
    def channel(self) -> str:
        """The channel of its events. Clients read it at ``url``."""
        return RUN_PREFIX + self.id

    @property
    def url(self) -> str:
        """The path at which it is read, below the application's prefix (``SCRIPT_NAME``).

        :raises ApplicationError: ``SSEMUX_URL`` is off, or this is a ``Publisher``'s run.
        """
        return self._host.make_url(self.id)

    def response(self, comments: bool = False) -> Any:
        """Return a response to the current request, whatever its method, that streams the run from its beginning.

        It has the run's events and nothing else, so that a client that reads a model's tokens sees what it knows; the
        last one is ``ssemux.run``. Its headers ``Ssemux-Run`` and ``Content-Location`` say where the client can go on
        when the connection ends before.

        :param comments: also send ``retry``, the hello and heartbeats, as at ``url``: for a run that is silent for
            longer than a proxy waits.
        :raises ApplicationError: there is no current request, or this is a ``Publisher``'s run.
        """
        return self._host.make_response(self, comments)

    @property
    def state(self) -> str | None:
        """``waiting``, ``running``, ``done``, ``failed``, ``cancelled`` or ``lost``; None if it is not known any more.

        :raises BrokerUnavailable: the store did not answer.
        """
        return self._host.read_state(self.id)

    def cancel(self) -> bool:
        """End the run; return whether it had not ended. See ``flask_ssemux.cancel_run``."""
        return self._host.cancel_run(self.id)

    def wait(self, timeout: float | None = None) -> str | None:
        """Wait for the run's end, and return its state; that of the moment if the time is over.

        :param timeout: seconds to wait at most; None waits for the end.
        :raises BrokerUnavailable: another process executes the run, and the store did not answer.
        """
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        task = self._host.tasks.find_task(self.id)
        if task is not None and task.ended.wait(timeout):
            return task.state
        state = self.state
        while state is not None and state not in END_STATES and time.monotonic() < deadline:
            forks.sleep(max(0.0, min(POLL, deadline - time.monotonic())))
            state = self.state
        return state
