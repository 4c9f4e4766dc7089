"""URLs in a form that is safe in error messages, in logs and on the command line. No I/O."""

from __future__ import annotations

import re

_PASSWORD_PARAMETER = re.compile(r"(?i)([?&][^=&]*password)=[^&]*")


def without_password(url: str) -> str:
    """Return the URL with ``***`` instead of every password. The URL need not be valid."""
    scheme, slashes, rest = _PASSWORD_PARAMETER.sub(r"\1=***", url).partition("//")
    login, at, address = rest.rpartition("@")  # the last one: a password that is not quoted may contain others
    return "%s%s%s%s" % (scheme, slashes, login.partition(":")[0] + ":***@" if at else "", address)
