"""Every error that this package raises, by who can correct it: the application, the client, or the store's operator.

Only classes and their reasons. Messages are written where the invalid value is seen. No Flask and no gevent.
"""

from __future__ import annotations


class SSEMuxError(Exception):
    """The base class of all errors of flask_ssemux."""


# -- the application's errors -----------------------------------------------


class ApplicationError(SSEMuxError):
    """The application uses flask_ssemux wrongly."""


class ConfigurationError(ApplicationError, ValueError):
    """An option or the server's configuration cannot work. Mostly raised at start."""


class InvalidEvent(ApplicationError, ValueError):
    """An event that cannot be sent; nothing was stored.

    :ivar for_log: the message without any part of the event's data, str. What flask_ssemux itself logs is this one.
    """

    def __init__(self, message: str, for_log: str | None = None) -> None:
        super().__init__(message)
        self.for_log = message if for_log is None else for_log


class InvalidChannel(InvalidEvent):
    """A channel name that cannot be used."""


class EventTooLarge(InvalidEvent):
    """An event larger than ``SSEMUX_MAX_EVENT_BYTES``; nothing was stored."""


class InvalidIdentity(ApplicationError, TypeError):
    """``identify`` returned something that is not a user id."""


class InvalidAnswer(ApplicationError, TypeError):
    """A rule returned something else than True or False, such as a coroutine."""


class WrongState(ApplicationError, RuntimeError):
    """A stream cannot change from its state to the requested one. This is an error in flask_ssemux itself."""


class TooManyRuns(ApplicationError):
    """A run was not started, since this worker, or the run's owner, has as many as are allowed.

    A view that starts runs for its clients answers 429, for example by ``app.errorhandler(TooManyRuns)``.
    """


class RunFailed(SSEMuxError):
    """Raise this in the generator of a run that fails, if its readers may read the reason: they get its text."""


# -- the client's errors, which become responses -----------------------------


class ClientError(SSEMuxError):
    """The client requested something that it may not have.

    :ivar status: the HTTP status code of the response, int.
    :ivar code: a short name for programs, str.
    :ivar channel: the channel that was requested, str or None.
    """

    status = 400
    code = "bad_request"

    def __init__(self, message: str, channel: str | None = None) -> None:
        super().__init__(message)
        self.channel = channel


class BadRequest(ClientError):
    """A query that cannot be understood."""


class QueryTooLong(ClientError):
    """A query of more bytes than a client can need."""

    status = 414
    code = "query_too_long"


class Unauthorized(ClientError):
    """The channel needs a user, and the visitor is anonymous."""

    status = 401
    code = "unauthorized"


class BadTicket(Unauthorized):
    """An invalid ticket: of another application, expired, or already used."""

    code = "bad_ticket"


class Forbidden(ClientError):
    """This client may not read this channel."""

    status = 403
    code = "forbidden"


# -- the broker's errors ----------------------------------------------------


class BrokerError(SSEMuxError):
    """The broker failed."""


class BrokerUnavailable(BrokerError):
    """The store did not answer in time, or refused.

    The event was not accepted, unless the connection broke before the answer: then it is unknown whether it was
    accepted.
    """

    #: The first word of the store's answer if it refused: Redis's ``OOM``, ``NOPERM``, ``MISCONF`` and others.
    code = ""


class BrokerBehind(BrokerUnavailable):
    """The store's history began anew, and this process has not noticed it yet. It does within seconds."""


class BrokerClosed(BrokerError):
    """The broker was used after ``close``."""
