"""The functions of ``flask_ssemux``: each acts on the extension of the current application.

``SSEMux`` has the same functions as methods, which need no current application if there is only one. Only calls and
their documentation; ``state.py`` finds the extension.
"""

from __future__ import annotations

from typing import Any, Iterable, Sequence

from .publishing.arguments import explain_arguments
from .runs.run import Run
from .state import ApplicationState, get_current_state


@explain_arguments
class ApplicationFunctions:
    """The functions as methods, which differ only in how they find the extension in an application."""

    def _get_state(self) -> ApplicationState:
        """Return the extension in the application on which the functions act.

        :raises ApplicationError: it is not known which application that is, or it does not use the extension.
        """
        return get_current_state()

    def publish(
        self,
        channel: str,
        data: Any,
        event: str | None = None,
        *,
        latest: bool = False,
        on_error: str | None = None,
        session: Any = None,
    ) -> str | Any:
        """Send an event to everyone who reads a channel; see ``Publisher.publish``."""
        return self._get_state().publish(channel, data, event, latest=latest, on_error=on_error, session=session)

    def send_to_user(
        self,
        user_id: Any,
        data: Any,
        event: str | None = None,
        *,
        latest: bool = False,
        on_error: str | None = None,
        session: Any = None,
    ) -> str | Any:
        """Send an event to all streams of one user; see ``Publisher.send_to_user``."""
        return self._get_state().send_to_user(user_id, data, event, latest=latest, on_error=on_error, session=session)

    def broadcast(
        self,
        data: Any,
        event: str | None = None,
        *,
        latest: bool = False,
        on_error: str | None = None,
        session: Any = None,
    ) -> str | Any:
        """Send an event to everyone; see ``Publisher.broadcast``."""
        return self._get_state().broadcast(data, event, latest=latest, on_error=on_error, session=session)

    def publish_many(self, events: Iterable[Any], *, on_error: str | None = None) -> list[str] | Any:
        """Send several events in one atomic step, all of them or none; see ``Publisher.publish_many``."""
        return self._get_state().publish_many(events, on_error=on_error)

    def publish_on_commit(
        self, session: Any, channel: str, data: Any, event: str | None = None, *, latest: bool = False
    ) -> None:
        """Publish when the session's transaction is committed; see ``Publisher.publish_on_commit``."""
        self._get_state().publish_on_commit(session, channel, data, event, latest=latest)

    def send_to_user_on_commit(
        self, session: Any, user_id: Any, data: Any, event: str | None = None, *, latest: bool = False
    ) -> None:
        """Call ``send_to_user`` when the session's transaction is committed; see ``publish_on_commit``."""
        self._get_state().send_to_user_on_commit(session, user_id, data, event, latest=latest)

    def broadcast_on_commit(self, session: Any, data: Any, event: str | None = None, *, latest: bool = False) -> None:
        """Call ``broadcast`` when the session's transaction is committed; see ``publish_on_commit``."""
        self._get_state().broadcast_on_commit(session, data, event, latest=latest)

    def publish_many_on_commit(self, session: Any, events: Iterable[Any]) -> None:
        """Call ``publish_many`` when the session's transaction is committed; see ``publish_on_commit``."""
        self._get_state().publish_many_on_commit(session, events)

    def cursor(self) -> str:
        """Return the cursor of the newest event; see ``Publisher.cursor``."""
        return self._get_state().cursor()

    def disconnect(
        self, user_id: Any = None, *, channel: str | None = None, stop: bool = False, reason: str = "disconnected"
    ) -> str:
        """End all streams of a user, or of a channel; see ``Publisher.disconnect``."""
        return self._get_state().disconnect(user_id, channel=channel, stop=stop, reason=reason)

    def revoke(self, user_id: Any, channel: str, *, reason: str = "revoked") -> str:
        """End the streams of one user that read one channel; see ``Publisher.revoke``."""
        return self._get_state().revoke(user_id, channel, reason=reason)

    def presence(self, channel: str) -> dict[str | None, int]:
        """Return who reads a channel now, over all workers: the number of streams by user id.

        User ids are texts; None stands for anonymous visitors. Streams of a worker that was killed are missing at once
        if the worker ran on this machine, and after at most one heartbeat otherwise.

        :param channel: one that ``SSEMux.track_presence`` was called for, or ``*`` for everyone who is connected.
        :raises ApplicationError: presence on this channel is not tracked.
        :raises BrokerUnavailable: the store did not answer.
        """
        return self._get_state().presence(channel)

    def start_run(self, generator: Any, *, owner: Any = None, data: Any = None, resume: Any = None) -> Run:
        """Execute a generator apart from the current request, and publish what it yields; see ``Run``.

        A yield is data, ``(event, data)``, or the text of an old generator, whose frames are read. The generator runs
        in a greenlet or thread of this process with the application's context, and without the request's. Clients that
        leave do not stop it. Its last event is ``ssemux.run``, whose data says how it ended::

            run = flask_ssemux.start_run(generate(prompt), owner=current_user.id)
            return run.response()

        :param generator: a generator, or anything else to iterate over.
        :param owner: the id of the user who may read the run. None is the user of the current request; if that is an
            anonymous visitor, or if there is no request, whoever knows the run's URL may read it.
        :param data: of at most 64 KiB as JSON, kept with the run, for ``resume``.
        :param resume: a function that goes on with the run if its process dies: ``resume(run, last)`` returns a
            generator, in another process. ``last`` is the run's last event, a ``RunEvent``, or None. It is at the level
            of its module, or registered by ``SSEMux.resumes_run``.
        :raises TooManyRuns: this worker, or the owner, has as many runs as are allowed.
        :raises ApplicationError: (or a subclass) one of the arguments cannot be used.
        :raises BrokerUnavailable: the run was not started.
        """
        return self._get_state().start_run(generator, owner, data, resume)

    def plan_run(self, *, owner: Any = None, data: Any = None) -> Run:
        """Return a run that another process will start, such as a Celery task: ``Publisher.start_run(..., id=run.id)``.

        It can be read at once. The parameters and errors are those of ``start_run``.
        """
        return self._get_state().plan_run(owner, data)

    def get_run(self, run_id: str) -> Run | None:
        """Return a run by its id, in whichever process it is executed; None if there is none, or it is forgotten.

        :param run_id: as ``Run.id``.
        :raises BrokerUnavailable: the store did not answer.
        """
        return self._get_state().runs.get_run(run_id)

    def cancel_run(self, run_id: str, *, owner: Any = None) -> bool:
        """End a run, in whichever process it is executed: its generator is closed.

        Under gevent that is done at once, also where the generator sleeps or waits for a socket; in threads when it
        yields next. Its ``finally`` blocks run.

        :param run_id: as ``Run.id``.
        :param owner: the id of a user: end the run only if this is its owner. None: end it in any case.
        :return: whether it was the owner's, and had not ended.
        :raises BrokerUnavailable: it is not known whether the run will end.
        """
        return self._get_state().runs.cancel_run(run_id, owner)

    def run_state(self, run_id: str) -> str | None:
        """Return the state of a run: ``waiting``, ``running``, ``done``, ``failed``, ``cancelled`` or ``lost``.

        :param run_id: as ``Run.id``.
        :return: None if there is no such run, or if it is forgotten: ``SSEMUX_HISTORY_SECONDS`` after its end.
        :raises BrokerUnavailable: the store did not answer.
        """
        return self._get_state().runs.read_state(run_id)

    def ticket(self, user_id: Any, *, channels: Sequence[str] | None = None, expires: float = 60) -> str:
        """Return a ticket for one stream of a client without cookies.

        The client sends it as ``GET /events?ticket=...`` or as ``Authorization: Ticket ...``. The bearer is identified
        as this user without a call of ``identify``; channels are authorized as usual. So give a ticket only to its
        user.

        :param user_id: a str, int or UUID, as ``identify`` returns it; None for an anonymous visitor.
        :param channels: the channels that the stream may name; None: all that the rules allow.
        :param expires: seconds within which the stream must be opened, at most 3600. An open stream stays open.
        :return: a text of about 100 characters, signed with the application's SECRET_KEY, which need no quoting in a
            URL.
        :raises ApplicationError: there is no application or no SECRET_KEY, or ``expires`` is out of range.
        :raises InvalidEvent: (or a subclass) an invalid user id or channel.
        """
        return self._get_state().ticket(user_id, channels=channels, expires=expires)


_current = ApplicationFunctions()

publish = _current.publish
send_to_user = _current.send_to_user
broadcast = _current.broadcast
publish_many = _current.publish_many
publish_on_commit = _current.publish_on_commit
send_to_user_on_commit = _current.send_to_user_on_commit
broadcast_on_commit = _current.broadcast_on_commit
publish_many_on_commit = _current.publish_many_on_commit
cursor = _current.cursor
disconnect = _current.disconnect
revoke = _current.revoke
presence = _current.presence
start_run = _current.start_run
plan_run = _current.plan_run
get_run = _current.get_run
cancel_run = _current.cancel_run
run_state = _current.run_state
ticket = _current.ticket
