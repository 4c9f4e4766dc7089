"""Connections to Redis by URL, one caller at a time, each answer within a deadline.

redis-py does the protocol, TLS, passwords and Sentinel; its connections are used
without its pool, which would connect anew without a word: whoever is behind must know. Nothing about events.
"""

from __future__ import annotations

import hashlib
import inspect
import threading
import time
from typing import Any, Callable
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from ..errors import BrokerUnavailable, ConfigurationError
from ..redact import without_password
from .base import WAIT

driver: Any = None
try:
    import redis.sentinel

    driver = redis
except ImportError:  # an extra; where a URL asks for it, that is said
    pass

#: What the URL's ``?prefix=`` is by default: applications that share a database have each their own.
PREFIX = "ssemux"

#: Seconds between two tries to reach a server that is not there.
PAUSE = 0.05

#: Seconds that a new connection may take at least.
LEAST = 0.5

#: Seconds after a call that failed in which those that queued behind it fail too, rather than each after a wait.
QUEUE = 0.1

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
        # A server that is there answers in milliseconds; one that hangs may use up LEAST more than was left.
        made.socket_timeout = made.socket_connect_timeout = max(LEAST, deadline - time.monotonic())
        made.connect()
        return made


class Script:
    """A script by its text, known to the server by its hash after the first call."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.hash = hashlib.sha1(text.encode()).hexdigest()  # EVALSHA's; nothing secret


class Line:
    """One connection, used by one caller at a time; a server that went away is connected anew.

    :param address: of the server.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._connection: Any = None
        self._failed: tuple[float, str] = (0.0, "")

    def call(self, script: Script, key: str, *values: Any) -> Any:
        """The script's answer. It may be run twice, where the first answer never came.

        :raises BrokerUnavailable: there was none within ``WAIT`` seconds.
        """
        deadline = time.monotonic() + WAIT
        if not self._lock.acquire(timeout=WAIT - LEAST / 2):  # with too little time left it would only be asked in vain
            raise BrokerUnavailable("the Redis store %s: busy for %g s" % (self._address.shown, WAIT))
        try:
            until, reason = self._failed
            if time.monotonic() < until:
                raise BrokerUnavailable(reason)
            return self._persistently(deadline, lambda: self._run(script, (1, key) + values, deadline))
        except BaseException as error:
            if not isinstance(error, BrokerUnavailable):
                self._hang_up()  # a time-out of the caller's, or its end: the answer is still to come
            raise
        finally:
            self._lock.release()

    def close(self) -> None:
        """Let go of the connection; a later call opens another."""
        if self._lock.acquire(timeout=WAIT):
            try:
                self._hang_up()
            finally:
                self._lock.release()

    def _persistently(self, deadline: float, ask: Callable[[], Any]) -> Any:
        pause = PAUSE
        while True:
            try:
                return ask()
            except driver.ResponseError as error:
                if "READONLY" not in str(error) and not isinstance(error, driver.ReadOnlyError):
                    raise BrokerUnavailable("the Redis store %s: %s" % (self._address.shown, error)) from error
                reason: Exception = error  # a replica now: the next connection may find the master
            except (driver.RedisError, OSError) as error:
                reason = error
            self._hang_up()
            is_hopeless = isinstance(reason, (driver.TimeoutError, driver.AuthenticationError))
            if is_hopeless or time.monotonic() + pause > deadline:
                said = "the Redis store %s: %s" % (self._address.shown, reason)
                self._failed = time.monotonic() + QUEUE, said
                raise BrokerUnavailable(said) from reason
            time.sleep(pause)
            pause = min(pause * 2, 5 * PAUSE)

    def _run(self, script: Script, values: tuple[Any, ...], deadline: float) -> Any:
        try:
            return self._ask(("EVALSHA", script.hash) + values, deadline)
        except driver.exceptions.NoScriptError:
            return self._ask(("EVAL", script.text) + values, deadline)

    def _ask(self, command: tuple[Any, ...], deadline: float) -> Any:
        if self._connection is None:
            self._connection = self._address.connect(deadline)
        self._connection.send_command(*command)
        if not self._connection.can_read(max(0.0, deadline - time.monotonic())):
            raise driver.TimeoutError("no answer for %g s" % WAIT)
        return self._connection.read_response()

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()


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
    return settings


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
        raise ValueError(
            "a sentinel's URL is redis+sentinel://user:password@host:26379,host:26379/service/database"
        )
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
