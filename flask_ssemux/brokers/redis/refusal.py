"""Turns what a Redis server answers, or what redis-py raises, into an error of ours.

Servers and proxies quote what they do not accept: an event may be among it, or the password of a login. So no text of
a server is shown or logged but through ``describe_error``. No connections.
"""

from __future__ import annotations

import re
from typing import Iterable

from ...errors import BrokerUnavailable

#: Characters of the server's answer that an error shows.
SHOWN = 240

#: Characters of a value by which it is recognized in a text, and the length of a value that is too short for it. A
#: value is also cut off if it is quoted.
RECOGNIZED, SHORT = 12, 4

#: How to fix it, by the first word of an answer.
_FIXES = {
    "OOM": "it is at its maxmemory, and no event is over a limit: raise maxmemory, or lower "
    "SSEMUX_HISTORY_BYTES or SSEMUX_HISTORY_SECONDS",
    "NOPERM": "its user lacks a right: docs/redis.md lists those that are needed",
    "CLUSTERDOWN": "it is a Redis Cluster that does not work now: `redis-cli cluster info` says more",
    "MOVING": "nothing is read or accepted until then: docs/redis.md, section Redis Cluster",
    "WRONGPASS": "the URL's user or password is not the server's",
    "NOAUTH": "the server needs a password: redis://:password@host:6379/0",
}

#: How to fix it, by the beginning of the URL and words of the text.
_OTHER_FIXES = (
    ("", "SELECT is not allowed in cluster", "a Redis Cluster has only the database 0"),
    ("redis+cluster", "cluster support disabled", "the server is no Redis Cluster: write redis://"),
    ("rediss+cluster", "cluster support disabled", "the server is no Redis Cluster: write rediss://"),
    ("", "Authentication required", _FIXES["NOAUTH"]),
    ("", "unauthenticated", _FIXES["NOAUTH"]),  # what it says to a long command
    ("", "DB index is out of range", "the URL's path is the number of the database, below the server's `databases`"),
    ("", "without any password configured", "the server has no password: remove it from the URL"),
    ("rediss", "CERTIFICATE_VERIFY_FAILED", "the URL's host must be the certificate's, and its issuer must be trusted: "
     "?ssl_ca_certs=/path/of/the/certificate.pem; ?ssl_cert_reqs=none accepts any certificate"),
    ("rediss", "No such file or directory", "a file of certificates that the URL names does not exist"),
    ("rediss", "Timeout connecting", "if the port does not use TLS, write redis://"),
    ("rediss", "WRONG_VERSION_NUMBER", "the port does not use TLS: write redis://"),
)  # fmt: skip

#: The kinds of redis-py's errors whose texts are its own, or the system's. All others have texts of the server.
_OWN_ERRORS = ("ConnectionError", "TimeoutError")

#: First words of the answers of a server that takes no writes now, and still answers reads.
_UNWRITABLE = ("OOM", "MISCONF", "NOREPLICAS", "READONLY")

_CODES = (*_UNWRITABLE, "NOPERM", "MOVED", "CLUSTERDOWN", "WRONGPASS", "NOAUTH")

#: What Redis 6 and 7 answer in a script if a right is missing.
_NO_RIGHT = re.compile(r"can't (run this|access at least|publish to)|no permissions")

#: redis-py's classes for some of them. It removes the first word from the text.
_CLASSES = {
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "NoPermissionError": "NOPERM",
    "MovedError": "MOVED",
    "ClusterDownError": "CLUSTERDOWN",
    "AuthenticationWrongNumberOfArgsError": "WRONGPASS",
}

#: redis-py's classes, and the first words, of what a node of a cluster answers if another node has the keys, or will
#: have them soon; "MOVING" is of ``lua/prelude.lua``.
_REDIRECTIONS = {
    "MovedError": "MOVED",
    "AskError": "MOVING",
    "ASK": "MOVING",
    "TryAgainError": "MOVING",
    "TRYAGAIN": "MOVING",
    "MOVING": "MOVING",
    "MOVED": "MOVED",
    "ClusterDownError": "CLUSTERDOWN",
    "CLUSTERDOWN": "CLUSTERDOWN",
}

#: The rest of an answer to a wrong login, as redis-py shows it.
_WRONG_LOGIN = re.compile(r"invalid (username-password pair|password)")

_MOVED = re.compile(r"(\d+) (\S+:\d+)$")

_ARGUMENTS = re.compile(r",? ?with args beginning with.*", re.DOTALL)

#: A quotation mark that is no apostrophe.
_QUOTATION = re.compile(r"""["`]|(?<![a-z]{2}(?='[a-z]{1,2}\b))'""")

#: The commands that the scripts and the connections use. Their names may be quoted, and so may a word of an option.
_COMMANDS = (
    "auth hello select ping eval evalsha subscribe unsubscribe publish info time del exists expire pexpire pttl get "
    "set hget hset hsetnx hmget hmset hdel hgetall hkeys hvals hexists hincrby lindex lrange rpush lpop rpop "
    "sadd srem srandmember sentinel xadd xdel xlen xrange xrevrange zadd zrem zscore zcard zrange zrangebyscore "
    r"zpopmin client yes no cluster cluster\|slots cluster\|myid"
)
_HARMLESS = re.compile(r"""(["'`])(?:%s)\1""" % _COMMANDS.replace(" ", "|"), re.IGNORECASE)


def make_refusal(
    shown: str, answer: object, secrets: Iterable[str] = (), values: Iterable[object] = ()
) -> BrokerUnavailable:
    """Return the error for a call that failed, with the first word of the server's answer as ``code``.

    :param shown: the server's URL, without passwords.
    :param answer: the server's text, or redis-py's error, which may lack the first word.
    :param secrets: the URL's passwords.
    :param values: what was sent.
    """
    words = str(answer).strip()
    code = _find_code(answer, words)
    text = _describe_redirection(code, shown, words) or describe_error(answer, secrets, values)
    fix = _FIXES.get(code) or _find_other_fix(shown, words)
    error = BrokerUnavailable("the Redis store %s: %s%s" % (shown, text, " (%s)" % fix if fix else ""))
    error.code = code
    return error


def _find_other_fix(shown: str, words: str) -> str | None:
    fixes = (fix for beginning, mark, fix in _OTHER_FIXES if mark in words and shown.startswith(beginning))
    return next(fixes, None)


def describe_error(error: object, secrets: Iterable[str] = (), values: Iterable[object] = ()) -> str:
    """Return the text of redis-py's error or of a server's answer, up to what it may quote of an event or a login."""
    text = _ARGUMENTS.sub("", str(error).strip().split("\n")[0])
    is_own = isinstance(error, OSError) or type(error).__name__ in _OWN_ERRORS
    quotation = len(text) if is_own else _find_quotation(text)
    cut = min([quotation, *(_find_value(text, value) for value in (*secrets, *values))])
    shown = text[: min(cut, SHOWN)]
    return shown.rstrip(" :,") + " …" if cut < len(text) else shown or type(error).__name__


def _find_quotation(text: str) -> int:
    """Return where the text begins to quote something that may be private; its length if it does not."""
    at = 0
    while True:
        mark = _QUOTATION.search(text, at)
        if mark is None:
            return len(text)
        harmless = _HARMLESS.match(text, mark.start())
        if harmless is None:
            return mark.start()
        at = harmless.end()


def _find_value(text: str, value: object) -> int:
    """Return where a value that was sent is in the text; the text's length if it is not there."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str) or len(value) < SHORT:
        return len(text)
    found = re.search(_make_pattern(value[:RECOGNIZED]), text)
    return found.start() if found else len(text)


def _make_pattern(value: str) -> str:
    """Return a pattern for a value, however its line feeds and quotation marks are escaped."""
    return "".join(r"(?:\s|\\[nrt])+" if sign.isspace() else r"\\?" + re.escape(sign) for sign in value)


def _describe_redirection(code: str, shown: str, words: str) -> str | None:
    if code == "MOVING":
        return "the slot of the store's keys is being moved to another node of the Redis Cluster"
    if code != "MOVED":
        return None
    found = _MOVED.search(words)
    slot, node = (" (slot %s)" % found[1], found[2]) if found else ("", "")
    if "+cluster" in shown.partition("://")[0]:
        return "the nodes of the Redis Cluster do not agree which of them has the store's keys%s" % slot
    return (
        "it is a node of a Redis Cluster, and another node, %s, has the keys of this store%s; write %s, which finds "
        "that node and follows the keys if they move: docs/redis.md" % (node, slot, _make_cluster_url(shown, node))
    )


def _make_cluster_url(shown: str, node: str) -> str:
    """Return the URL of a server as that of a cluster, without a database."""
    scheme, _, rest = shown.partition("://")
    return "%s+cluster://%s" % (("redis", node) if scheme == "unix" else (scheme, rest.partition("/")[0]))


def _find_code(answer: object, words: str) -> str:
    """Return ``OOM``, ``NOPERM``, ...; "ERR" if the answer has none of the words that are known here."""
    redirection = find_redirection(answer)
    if redirection:
        return redirection
    if _NO_RIGHT.search(words):
        return "NOPERM"
    if _WRONG_LOGIN.search(words):
        return "WRONGPASS"
    return _CLASSES.get(type(answer).__name__) or next((code for code in _CODES if code in words), "ERR")


def find_redirection(answer: object) -> str | None:
    """Return ``MOVED``, ``MOVING`` or ``CLUSTERDOWN`` if that is what a node of a cluster answers: another node has the
    keys, or will have them soon."""
    return _REDIRECTIONS.get(type(answer).__name__) or _REDIRECTIONS.get(str(answer).strip().partition(" ")[0])


def is_unwritable(error: BrokerUnavailable) -> bool:
    """Return whether the server takes no writes now, and still answers reads."""
    return error.code in _UNWRITABLE
