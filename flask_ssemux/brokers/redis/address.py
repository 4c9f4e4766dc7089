"""Where a Redis server is, by its URL, and how a connection to it is opened.

redis-py handles the protocol, TLS, passwords and Sentinel; ``cluster`` finds the right node of a cluster. redis-py's
connections are used without its pool, which would connect again unnoticed: callers must know that a connection is new.
Nothing about events.
"""

from __future__ import annotations

import inspect
import socket
import time
import weakref
from typing import Any, Iterable, Mapping

from ...errors import BrokerUnavailable, ConfigurationError
from ...util import forks
from ...util.redact import without_password
from ..contract.constants import WAIT_SECONDS
from .cluster import SlotOwner
from .driver import driver
from .link import Link, make_link
from .refusal import describe_error, find_redirection, make_refusal
from .url import Host, RedisURL

#: Seconds that a new connection may take, even if less time is left.
LEAST = 0.5

#: The limit of a pool that has none. The broker's connections are counted by itself.
MANY = 2**31 - 1

#: Seconds for each of several sentinels: one that is down must not use up the time for the others.
SENTINEL_WAIT = WAIT_SECONDS / 4


class Address:
    """Where a server is, and how to connect to it.

    :param url: as ``SSEMUX_BROKER``.
    :param namespace: is added to the prefix of the keys.
    :raises ConfigurationError: redis-py is missing, or the URL cannot be understood.
    """

    def __init__(self, url: str, namespace: str | None = None) -> None:
        if driver is None:
            raise ConfigurationError(
                "SSEMUX_BROKER=%r needs the package redis: pip install 'flask_ssemux[redis]'" % without_password(url)
            )
        read = RedisURL(url, namespace)
        self.prefix, self.shown, self.secrets = read.prefix, read.shown, read.secrets
        self.store_name = "%s (prefix %s)" % (read.place, read.prefix)
        self.database: int = read.options.get("db", 0)
        self._cluster = SlotOwner(read.hosts, read.prefix, self._open_node) if read.is_cluster else None
        try:
            self._pool: Any = _make_sentinel_pool(read) if read.service else _make_pool(read)
            self._pool.make_connection()  # its options are checked here; nothing is connected yet
        except (TypeError, ValueError, driver.RedisError) as error:
            reason = describe_error(error, self.secrets)
            raise ConfigurationError("SSEMUX_BROKER=%r: %s" % (self.shown, reason)) from None

    def make_refusal(self, answer: object, values: Iterable[object] = ()) -> BrokerUnavailable:
        """Return the error for a call that failed: see ``refusal.py``."""
        return make_refusal(self.shown, answer, self.secrets, values)

    def connect(self, deadline: float) -> Link:
        """Return an open connection.

        :raises redis.RedisError: the server cannot be reached.
        """
        if self._cluster is not None:
            return self._cluster.connect(deadline)
        return self._open(self._pool.make_connection(), deadline - time.monotonic())

    def must_connect_again(self, error: Exception) -> bool:
        """Return whether a new connection may help: the master became a replica, the server does not know the script,
        or another node of the cluster has the keys, or will have them soon."""
        if "READONLY" in str(error) or isinstance(error, (driver.ReadOnlyError, driver.exceptions.NoScriptError)):
            return True
        return self._cluster is not None and find_redirection(error) is not None

    def note_failure(self, error: Exception) -> None:
        """Note that a connection failed. Unless the server itself knows of a better one, the next one is found with the
        help of another node of the cluster: the server may be cut off from the others."""
        if self._cluster is not None and find_redirection(error) in (None, "CLUSTERDOWN"):
            self._cluster.doubt_owner()

    def is_current(self, link: Link) -> bool:
        """Return whether the link's server is still the one that has the keys, as far as this process knows."""
        return self._cluster is None or self._cluster.owner == link.server

    def _open_node(self, node: Host, timeout: float) -> Link:
        made = self._pool.make_connection()
        made.host, made.port = node
        return self._open(made, timeout)

    def _open(self, made: Any, timeout: float) -> Link:
        _connections.add(made)
        # A server that works answers in milliseconds; one that hangs may take LEAST seconds more than were left.
        made.socket_timeout = made.socket_connect_timeout = max(LEAST, timeout)
        made.connect()
        return make_link(made)


_connections: weakref.WeakSet[Any] = weakref.WeakSet()


def _close_inherited() -> None:
    """In a forked child: the connections are the parent's. A copied greenlet that waits for an answer reads their
    end."""
    for connection in list(_connections):
        sock = getattr(connection, "_sock", None)
        if sock is not None:
            forks.replace_file(sock.fileno())


forks.call_in_child(_close_inherited, forks.FILES)


def _make_settings(timeout: float, kind: Any = None) -> dict[str, Any]:
    """Return the settings of our connections that this redis-py knows: no retries, which would append twice."""
    settings: dict[str, Any] = {"socket_timeout": timeout}
    known = _list_parameters(kind or driver.Connection)
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
        settings["socket_keepalive_options"] = _keepalive_options()
    return settings


def _keepalive_options() -> dict[int, int]:
    """Return the socket options, of those this system has, that keep a NAT from forgetting an idle connection."""
    seconds = {"TCP_KEEPIDLE": 15, "TCP_KEEPALIVE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
    return {getattr(socket, name): value for name, value in seconds.items() if hasattr(socket, name)}


def _list_parameters(kind: Any) -> set[str]:
    """Return the parameters of a kind of connection: its own, and those that ``**kwargs`` pass on to its base class."""
    found: set[str] = set()
    for base in kind.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters
            found.update(parameters)
            if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
                break
    return found


def _make_pool(url: RedisURL) -> Any:
    kind = driver.SSLConnection if url.is_tls else driver.Connection
    options: dict[str, Any] = {"path": url.path}
    if url.hosts:
        options["host"], options["port"] = url.hosts[0]  # ``SlotOwner`` writes others of a cluster there
    else:
        kind = driver.UnixDomainSocketConnection
    options.update(_make_settings(WAIT_SECONDS, kind))
    options.update(_select_options(url.options, kind))
    if url.hosts:
        del options["path"]
    return driver.ConnectionPool(connection_class=kind, max_connections=MANY, **options)


def _make_sentinel_pool(url: RedisURL) -> Any:
    kind, options = None, _make_settings(WAIT_SECONDS)
    if url.is_tls:
        kind = getattr(driver.sentinel, "SentinelManagedSSLConnection", None)
        if kind is None:
            raise ValueError("TLS with Sentinel needs redis-py 4 or newer; this is %s" % driver.__version__)
        options["connection_class"] = kind
    options.update(_select_options(url.options, driver.SSLConnection if url.is_tls else driver.Connection))
    sentinel = driver.sentinel.Sentinel(
        list(url.hosts), sentinel_kwargs={**_make_settings(SENTINEL_WAIT), **url.sentinel_options}
    )
    return driver.sentinel.SentinelConnectionPool(url.service, sentinel, max_connections=MANY, **options)


def _select_options(options: Mapping[str, Any], kind: Any) -> dict[str, Any]:
    """Return the URL's options for a kind of connection.

    :raises ValueError: this redis-py does not have one of them.
    """
    known, selected = _list_parameters(kind), dict(options)
    for name in options:
        if name not in known:
            raise ValueError("redis-py %s does not have the option %s" % (driver.__version__, name))
    if selected.get("ssl_cert_reqs") == "none" and "ssl_check_hostname" in known:
        selected["ssl_check_hostname"] = False  # ssl refuses to check the name in a certificate that it does not check
    return selected
