"""URLs as messages, logs and the command line may show them. Nothing else; no I/O."""

from __future__ import annotations

import re

_LOGIN = re.compile(r"//([^:@/?#]*):?[^@/?#]*@")
_SECRET = re.compile(r"(?i)([?&][^=&]*password)=[^&]*")


def without_password(url: str) -> str:
    """The URL with ``***`` for its passwords, wherever it has them; it need not be a good one."""
    return _SECRET.sub(r"\1=***", _LOGIN.sub(r"//\1:***@", url))
