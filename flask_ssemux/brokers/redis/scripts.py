"""The scripts of ``lua/``, which do everything that is done to the keys. ``life.lua`` is the beginning of each."""

from __future__ import annotations

import hashlib
from pathlib import Path

_FOLDER = Path(__file__).parent / "lua"


class Script:
    """A script by its text, known to the server by its hash after the first call."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.hash = hashlib.sha1(text.encode()).hexdigest()  # EVALSHA's; nothing secret


def _script(*parts: str) -> Script:
    return Script("\n".join((_FOLDER / (part + ".lua")).read_text() for part in ("life", *parts)))


APPEND, HOLD, PLACES, SHOW_OLDEST, OLDEST, CLAIM, NEWS = map(
    _script, ("append", "hold", "places", "show_oldest", "oldest", "claim", "news")
)
REPORT, REPORTS, FIGURES, PRESENT, PRESENCE, ENROLL = map(
    _script, ("report", "reports", "figures", "present", "presence", "enroll")
)
#: For those who return: what is over a limit of the history is not for them.
HEAD, READ, FLOORS = (_script("limits", name) for name in ("head", "read", "floors"))
#: For those who were connected all the while.
READ_LIVE = _script("live", "read")
