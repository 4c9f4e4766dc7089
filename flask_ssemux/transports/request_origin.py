"""Whether a request came through a server, or from a test or a program that calls the application as a function."""

from __future__ import annotations

from typing import Any, Mapping

from ..util.call_stack import is_called_from
from ..util.request_override import ENVIRON_KEY as TEST_REQUEST

#: Keys of the WSGI environment that only servers set, and that only tests set.
SERVER_KEYS = frozenset({"SERVER_SOFTWARE", "uwsgi.version"})
TEST_KEYS = frozenset({"paste.testing", TEST_REQUEST})


def is_called_directly(environ: Mapping[str, Any]) -> bool:
    """Return whether no server made this request, but a test, or a program that calls the application as a function.

    Not every server gives its name or its client's address (PEP 3333 requires neither). Nor do tests, but Werkzeug's
    test client is found among our callers. (Adapters to servers may use functions of its module, but not the client.)
    """
    if not SERVER_KEYS.isdisjoint(environ):
        return False
    if _is_built(environ) or not TEST_KEYS.isdisjoint(environ):
        return True
    return is_called_by_test_client()


def is_called_by_test_client() -> bool:
    """Return whether a test client is among our callers, whatever the environment contains."""
    return is_called_from("werkzeug.test", "self") or is_called_from("httpx._transports.wsgi", "self")


def _is_built(environ: Mapping[str, Any]) -> bool:
    """Return whether Werkzeug's ``EnvironBuilder`` made the environment.

    gunicorn sets ``RAW_URI`` too, but it also gives its name and its client's address.
    """
    return "RAW_URI" in environ and "REMOTE_ADDR" not in environ
