"""Every error this package raises, split by whose fault it is.

Only classes and the reason each exists. No messages: they are written where
the wrong value is seen. Knows neither Flask nor gevent.
"""

from __future__ import annotations


class SSEMuxError(Exception):
    """Root of all errors of flask_ssemux."""


# -- the application's fault ------------------------------------------------


class ApplicationError(SSEMuxError):
    """The application used flask_ssemux wrongly."""


class ConfigurationError(ApplicationError, ValueError):
    """An option, or the server's set-up, cannot work. Raised at start."""


class InvalidEvent(ApplicationError, ValueError):
    """An event that may not be sent: nothing was stored."""


class InvalidChannel(InvalidEvent):
    """A channel's name that may not be used."""


class EventTooLarge(InvalidEvent):
    """An event over ``SSEMUX_MAX_EVENT_BYTES``: nothing was stored."""


class InvalidIdentity(ApplicationError, TypeError):
    """``identify`` returned something that is not a user's id."""


class InvalidAnswer(ApplicationError, TypeError):
    """A rule answered neither yes nor no."""


class WrongState(ApplicationError, RuntimeError):
    """A stream was asked to make a move its life does not have."""


# -- the client's fault -----------------------------------------------------


class ClientError(SSEMuxError):
    """The client asked for something it may not have.

    :ivar status: HTTP status code of the answer, int.
    :ivar code: a short name for programs, str.
    :ivar channel: the channel that was asked for, str or None.
    """

    status = 400
    code = "bad_request"

    def __init__(self, message: str, channel: str | None = None) -> None:
        super().__init__(message)
        self.channel = channel


class BadRequest(ClientError):
    """A query that cannot be understood."""


class QueryTooLong(ClientError):
    """A query of more bytes than any client of ours needs."""

    status = 414
    code = "query_too_long"


class Unauthorized(ClientError):
    """The channel needs a user, and nobody is logged in."""

    status = 401
    code = "unauthorized"


class BadTicket(Unauthorized):
    """A ticket that opens no stream: not ours, too old, or used."""

    code = "bad_ticket"


class Forbidden(ClientError):
    """This client may not read this channel."""

    status = 403
    code = "forbidden"


# -- the broker's fault -----------------------------------------------------


class BrokerError(SSEMuxError):
    """The broker could not do its work."""


class BrokerUnavailable(BrokerError):
    """The store did not answer in time. An event being published was not accepted; see ``Broker.append``."""

    #: The first word of the store's answer, where it refused: Redis's ``OOM``, ``NOPERM``, ``MISCONF`` and others.
    code = ""


class BrokerBehind(BrokerUnavailable):
    """The store's history began anew, and this process has yet to hear of it, which it will within seconds."""


class BrokerClosed(BrokerError):
    """The broker was used after ``close``."""
