"""Turns what PostgreSQL answers, or what libpq says of a connection, into an error of ours. No connections."""

from __future__ import annotations

from typing import Iterable

from ...errors import BrokerUnavailable

#: Characters of the server's answer that an error shows.
SHOWN = 300

_NO_TABLES = (
    "its tables are missing, and this role cannot make them: `flask ssemux init-db` makes them, with a role that may, "
    "or prints the SQL"
)

#: How to fix it, by SQLSTATE.
_FIXES = {
    "3F000": _NO_TABLES,
    "42P01": _NO_TABLES,
    "42501": "its role lacks a right: `flask ssemux init-db --grant-to ROLE` gives what is needed, or prints it",
    "42883": "its functions are of another version of flask_ssemux: run `flask ssemux init-db`",
    "25001": "set it for the role: ALTER ROLE ... SET default_transaction_isolation = 'read committed'",
    "25006": "it is a replica: name the primary, or all servers: postgresql://one,other/database",
    "53100": "its disk is full",
    "53200": "it is out of memory",
    "55P03": "others number events all the time, or a process that does so hangs",
    "57014": "its statement_timeout is too short",
}

_TOO_MANY = "docs/postgres.md says how many connections each process has; raise max_connections"

#: How to fix it, by words of libpq's text: a failed connection has no SQLSTATE.
_CONNECT_FIXES = (
    ("password authentication failed", "the URL's user or password is not the server's"),
    ("no password supplied", "the URL has no password: postgresql://user:password@host/database"),
    ("no pg_hba.conf entry", "the server's pg_hba.conf does not allow this user from this host"),
    ("too many clients", _TOO_MANY),
    ("remaining connection slots", _TOO_MANY),
    ("read-only", "no server that the URL names is the primary"),
    ("does not support SSL", "the port does not use TLS: remove sslmode from the URL"),
)

#: Words of failures that no later try mends.
_FINAL = ("authentication failed", "no password supplied", "no pg_hba.conf entry", "does not exist", "certificate",
          "does not support SSL", "is not permitted to log in")  # fmt: skip


class ServerError(Exception):
    """The server refused a statement; the connection still works.

    :ivar code: the SQLSTATE.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class ConnectionLost(Exception):
    """The connection broke, or could not be made.

    :ivar was_sent: whether the server may have carried out the statement.
    """

    def __init__(self, text: str, was_sent: bool = False) -> None:
        super().__init__(text)
        self.was_sent = was_sent

    @property
    def is_final(self) -> bool:
        """Whether another try will end in the same way."""
        return any(mark in str(self) for mark in _FINAL)


def make_refusal(shown: str, error: object, secrets: Iterable[str] = ()) -> BrokerUnavailable:
    """Return the error for a call that failed, with the SQLSTATE as ``code``.

    :param shown: the server's URL, without passwords.
    :param error: a ``ServerError``, a ``ConnectionLost``, or a text.
    :param secrets: the URL's passwords.
    """
    code = error.code if isinstance(error, ServerError) else ""
    text = describe_error(error, secrets)
    fix = _FIXES.get(code) or next((fix for mark, fix in _CONNECT_FIXES if mark in text), None)
    made = BrokerUnavailable("the PostgreSQL store %s: %s%s" % (shown, text, " (%s)" % fix if fix else ""))
    made.code = code
    return made


def describe_error(error: object, secrets: Iterable[str] = ()) -> str:
    """Return the text of an error in one line, without passwords."""
    text = " ".join(str(error).split())
    for secret in secrets:
        text = text.replace(secret, "***")
    return text[:SHOWN] or type(error).__name__
