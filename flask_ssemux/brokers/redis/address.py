"""Where a Redis server is, by its URL, and how a connection to it is opened.

redis-py does the protocol, TLS, passwords and Sentinel; its connections are used
without its pool, which would connect anew without a word: whoever is behind must know. Nothing about events.
"""

from __future__ import annotations

import inspect
import socket
import time
import weakref
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from ...errors import ConfigurationError
from ...util import forks
from ...util.redact import without_password
from ..base import WAIT
from ..namespace import PREFIX

driver: Any = None
try:
    import redis.sentinel

    driver = redis
except ImportError:  # an extra; where a URL asks for it, that is said
    pass

#: Seconds that a new connection may take at least.
LEAST = 0.5

#: Seconds for each of several sentinels: one that is gone must not use up the time for the others.
SENTINEL_WAIT = WAIT / 4


class Address:
    """Where a server is, and how to connect to it.

    :param url: as ``SSEMUX_BROKER``; with redis-py's options and ``prefix`` in its query.
    :raises ConfigurationError: redis-py is missing, or the URL cannot be understood.
    """

    def __init__(self, url: str) -> None:
        if driver is None:
            raise ConfigurationError(
                "SSEMUX_BROKER=%r needs the package redis: pip install 'flask_ssemux[redis]'" % without_password(url)
            )
        url, query = _without_ours(url)
        self.prefix = query.get("prefix", PREFIX)
        self.shown = without_password(url.partition("?")[0])
        try:
            self._pool: Any = _sentinel_pool(url, query) if "+sentinel://" in url else _pool(url)
            self.database = int(self._pool.connection_kwargs.get("db") or 0)
            self._pool.make_connection()  # its options are checked here; nothing is connected yet
        except (TypeError, ValueError) as error:
            raise ConfigurationError("SSEMUX_BROKER=%r: %s" % (self.shown, error)) from None

    def connect(self, deadline: float) -> Any:
        """A connection that is open, of redis-py's.

        :raises redis.RedisError: the server cannot be reached.
        """
        made = self._pool.make_connection()
        _connections.add(made)
        # A server that is there answers in milliseconds; one that hangs may use up LEAST more than was left.
        made.socket_timeout = made.socket_connect_timeout = max(LEAST, deadline - time.monotonic())
        made.connect()
        return made


_connections: weakref.WeakSet[Any] = weakref.WeakSet()


def _let_go() -> None:
    """In a forked child: the connections are the parent's. A copied greenlet that waits for an answer finds the end."""
    for connection in list(_connections):
        sock = getattr(connection, "_sock", None)
        if sock is not None:
            forks.replace_file(sock.fileno())


forks.call_in_child(_let_go, forks.FILES)


def _without_ours(url: str) -> tuple[str, dict[str, str]]:
    """The URL without the options that redis-py does not know, and all of its options."""
    parts = urlsplit(url)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    theirs = {name: value for name, value in query.items() if name != "prefix" and not name.startswith("sentinel_")}
    options = "?" + urlencode(theirs) if theirs else ""
    return "%s://%s%s%s" % (parts.scheme, parts.netloc, parts.path, options), query


def _settings(timeout: float, kind: Any = None) -> dict[str, Any]:
    """What connections of ours have, of what this redis-py knows: no retries, which would append twice."""
    settings: dict[str, Any] = {"socket_timeout": timeout}
    known = _parameters(kind or driver.Connection)
    if "socket_connect_timeout" in known:
        settings["socket_connect_timeout"] = timeout
    if "retry" in known:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        settings["retry"] = Retry(NoBackoff(), 0)
    if "protocol" in known:
        settings["protocol"] = 2
    if "socket_keepalive_options" in known:
        settings["socket_keepalive"] = True
        settings["socket_keepalive_options"] = _keepalive()
    return settings


def _keepalive() -> dict[int, int]:
    """What keeps a NAT or a load balancer from forgetting an idle connection, as far as this system has it."""
    seconds = {"TCP_KEEPIDLE": 15, "TCP_KEEPALIVE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
    return {getattr(socket, name): value for name, value in seconds.items() if hasattr(socket, name)}


def _parameters(kind: Any) -> set[str]:
    """What can be said to a kind of connection: by name here, or by ``**kwargs`` to what it is derived from."""
    found: set[str] = set()
    for base in kind.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters
            found.update(parameters)
            if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
                break
    return found


def _pool(url: str) -> Any:
    options = _settings(WAIT, driver.UnixDomainSocketConnection if url.startswith("unix:") else None)
    if "decode_components" in inspect.signature(driver.ConnectionPool.from_url).parameters:
        options["decode_components"] = True  # before redis-py 4 a choice
    made = driver.ConnectionPool.from_url(url, max_connections=2**31 - 1, **options)
    known = _parameters(made.connection_class)
    for name in parse_qs(urlsplit(url).query):
        if name not in known:
            raise ValueError("redis-py %s knows no option %r" % (driver.__version__, name))
    # Answers are bytes, and whoever is behind must know of a connection that is made anew.
    for name in [name for name in made.connection_kwargs if name.startswith("socket_keepalive")]:
        options[name] = made.connection_kwargs[name]  # the URL's own
    made.connection_kwargs.update(options, decode_responses=False, health_check_interval=0)
    made.connection_kwargs.pop("decode_components", None)
    return made


def _sentinel_pool(url: str, query: dict[str, str]) -> Any:
    """``redis+sentinel://user:password@host:26379,host:26379/service/database``."""
    parts = urlsplit(url)
    user, _, places = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    path = [unquote(part) for part in parts.path.split("/")[1:]]
    if not places or not path or not path[0] or len(path) > 2:
        raise ValueError("a sentinel's URL is redis+sentinel://user:password@host:26379,host:26379/service/database")
    for option in parse_qs(parts.query):
        if not option.startswith("ssl_"):
            raise ValueError("a sentinel's URL knows no option %r" % option)
    options = _settings(WAIT)
    options["db"] = int(path[1]) if len(path) == 2 and path[1] else 0
    if password:
        options["password"] = unquote(password)
    if name:
        options["username"] = unquote(name)
    if parts.scheme == "rediss+sentinel":
        options.update(_tls(parts.query))
    watchers = _settings(SENTINEL_WAIT)
    for option in ("username", "password"):
        if "sentinel_" + option in query:
            watchers[option] = query["sentinel_" + option]
    sentinel = driver.sentinel.Sentinel([_place(place) for place in places.split(",")], sentinel_kwargs=watchers)
    return driver.sentinel.SentinelConnectionPool(path[0], sentinel, max_connections=2**31 - 1, **options)


def _tls(query: str) -> dict[str, Any]:
    if not hasattr(driver.sentinel, "SentinelManagedSSLConnection"):
        raise ValueError("TLS with Sentinel needs redis-py 4 or newer; this is %s" % driver.__version__)
    options = {name: values[-1] for name, values in parse_qs(query).items()}
    return {"connection_class": driver.sentinel.SentinelManagedSSLConnection, **options}


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":") if ":" in text.rpartition("]")[2] else (text, "", "")
    return host.strip("[]"), int(port or 26379)
