"""Turns the answer of a Redis server that refuses a command into an error of ours that quotes nothing of an event.

Old servers quote the arguments of a command that they do not know: a body may be among them. No connections.
"""

from __future__ import annotations

import re

from ...errors import BrokerUnavailable

#: Characters of the server's answer that an error shows.
SHOWN = 240

_QUOTED = re.compile(r",? ?with args beginning with.*", re.DOTALL)

#: How to fix it, by the first word of an answer.
_FIXES = {
    "OOM": "it is at its maxmemory, and no event is over a limit: raise maxmemory, or lower "
    "SSEMUX_HISTORY_BYTES or SSEMUX_HISTORY_SECONDS",
    "NOPERM": "its user lacks a right: docs/redis.md lists those that are needed",
}

#: First words of the answers of a server that takes no writes now, and still answers reads.
_UNWRITABLE = ("OOM", "MISCONF", "NOREPLICAS", "READONLY")

_CODES = (*_UNWRITABLE, "NOPERM")

#: What Redis 6 and 7 answer in a script if a right is missing.
_NO_RIGHT = re.compile(r"can't (run this|access at least|publish to)|no permissions")

#: redis-py's classes for some of them.
_CLASSES = {"OutOfMemoryError": "OOM", "ReadOnlyError": "READONLY", "NoPermissionError": "NOPERM"}


def make_refusal(shown: str, answer: object) -> BrokerUnavailable:
    """Return the error for a call that the server refused, with the first word of its answer as ``code``.

    :param shown: the server's URL, without passwords.
    :param answer: its text, or redis-py's error, which may lack the first word.
    """
    words = str(answer).strip()
    text = _QUOTED.sub("", words.split("\n")[0])[:SHOWN]
    code = _find_code(answer, words)
    fix = _FIXES.get(code)
    error = BrokerUnavailable("the Redis store %s: %s%s" % (shown, text, " (%s)" % fix if fix else ""))
    error.code = code
    return error


def _find_code(answer: object, words: str) -> str:
    """Return ``OOM``, ``NOPERM``, ...; "ERR" if the answer has none of the words that are known here."""
    if _NO_RIGHT.search(words):
        return "NOPERM"
    return _CLASSES.get(type(answer).__name__) or next((code for code in _CODES if code in words), "ERR")


def is_unwritable(error: BrokerUnavailable) -> bool:
    """Return whether the server takes no writes now, and still answers reads."""
    return error.code in _UNWRITABLE
