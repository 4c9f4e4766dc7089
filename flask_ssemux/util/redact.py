"""URLs as messages, logs and the command line may show them. Nothing else; no I/O."""

from __future__ import annotations

import re

_SECRET = re.compile(r"(?i)([?&][^=&]*password)=[^&]*")


def without_password(url: str) -> str:
    """The URL with ``***`` for its passwords, wherever it has them; it need not be a good one."""
    scheme, slashes, rest = _SECRET.sub(r"\1=***", url).partition("//")
    login, at, place = rest.rpartition("@")  # the last: an unquoted password may have others
    return "%s%s%s%s" % (scheme, slashes, login.partition(":")[0] + ":***@" if at else "", place)
