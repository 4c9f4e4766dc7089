"""What a Redis server answers when it refuses a command: as an error of ours that quotes nothing of an event.

Old servers quote the arguments of a command that they do not know: a body may be among them. No connections.
"""

from __future__ import annotations

import re

from ...errors import BrokerUnavailable

#: Characters of the server's own words that an error shows.
SHOWN = 240

_QUOTED = re.compile(r",? ?with args beginning with.*", re.DOTALL)

#: What to do, by the first word of an answer.
_MENDS = {
    "OOM": "it is at its maxmemory, and no event of ours is over a limit: raise maxmemory, or lower "
    "SSEMUX_HISTORY_BYTES or SSEMUX_HISTORY_SECONDS",
    "NOPERM": "its user lacks a right: docs/redis.md lists those that are needed",
}

#: First words of answers of a server that takes no writes for now, and still answers reads.
_UNWRITABLE = ("OOM", "MISCONF", "NOREPLICAS", "READONLY")


class Refused(BrokerUnavailable):
    """The server answered that it does not do what was asked.

    :param shown: the server's URL, without passwords.
    :param answer: its words.
    """

    def __init__(self, shown: str, answer: str) -> None:
        text = _QUOTED.sub("", answer.strip().split("\n")[0])[:SHOWN]
        #: ``OOM``, ``NOPERM``, ...; "ERR" or any other word where it has no code.
        self.code = next((code for code in (*_MENDS, *_UNWRITABLE) if re.search(r"\b%s\b" % code, answer)), "ERR")
        mend = _MENDS.get(self.code)
        super().__init__("the Redis store %s: %s%s" % (shown, text, " (%s)" % mend if mend else ""))

    @property
    def is_unwritable(self) -> bool:
        """Whether the server takes no writes for now, and still answers reads."""
        return self.code in _UNWRITABLE
