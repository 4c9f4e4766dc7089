"""Reads a Redis URL. Nothing about a driver or a connection; which options exist is in ``options.py``.

redis-py's own parser quotes parts of passwords in its errors, ignores what it does not understand (a database's name,
empty options), and refuses what other packages write. Every error here names the part that is wrong and the fix, and
quotes nothing that may belong to a password.
"""

from __future__ import annotations

import re
from typing import Any, Tuple
from urllib.parse import unquote, unquote_plus

from ...errors import ConfigurationError
from ...util.redact import without_password
from ..namespace import PREFIX, add_to_prefix
from .options import is_option, read_option

Host = Tuple[str, int]

SERVER_PORT, SENTINEL_PORT = 6379, 26379

#: How to write a password that has one of the characters with a meaning of their own.
ENCODE = (
    "if it belongs to the password, percent-encode it ('#' is %23, '/' is %2F, '?' is %3F, '@' is %40, '%' is %25, '&' "
    "is %26); urllib.parse.quote(password, safe='') does"
)

EARLY_END = "'/' or '?' comes before an '@'; " + ENCODE
NO_OPTION = "'?' or '&' comes before something that is not an option; " + ENCODE

_HOST = re.compile(r"(\[[^\[\]\s]+\]|[^\[\]:\s]*)(?::(\d{1,5}))?")
_CLUSTER_FORM = "redis+cluster://host:6379,host:6379"
_SENTINEL_FORM = "a sentinel's URL is redis+sentinel://user:password@host:26379,host:26379/service/database"


class RedisURL:
    """What a URL says.

    :param text: the URL, as in ``SSEMUX_BROKER``.
    :param namespace: is added to the prefix of the keys.
    :raises ConfigurationError: the URL cannot be understood.

    :ivar hosts: the server, the sentinels, or nodes of the cluster, with their ports; () for a Unix socket.
    :ivar path: of the Unix socket.
    :ivar service: what the sentinels call the server; "" without sentinels.
    :ivar prefix: of all keys.
    :ivar options: of redis-py's connection: login, database, TLS and others.
    :ivar sentinel_options: of the connections to the sentinels.
    :ivar shown: the URL without passwords and without options.
    """

    def __init__(self, text: str, namespace: str | None = None) -> None:
        self.prefix = PREFIX
        shown = without_password(text)
        self.shown = shown.partition("?")[0]
        try:
            self._read(text)
        except ValueError as error:
            raise ConfigurationError("SSEMUX_BROKER=%r: %s" % (shown, error)) from None
        self.prefix = add_to_prefix(self.prefix, namespace)

    def __repr__(self) -> str:
        return "<RedisURL %s>" % self.shown

    @property
    def place(self) -> str:
        """The database: the same text however the URL is written."""
        database = self.options.get("db", 0)
        if not self.hosts:
            return "unix://%s?db=%d" % (self.path, database)
        hosts = ",".join("%s:%d" % ("[%s]" % host if ":" in host else host, port) for host, port in self.hosts)
        return "%s://%s/%s%d" % (self.scheme, hosts, self.service and self.service + "/", database)

    @property
    def secrets(self) -> list[str]:
        """All passwords."""
        found = [*self.options.items(), *self.sentinel_options.items()]
        return [value for name, value in found if name.endswith("password") and value]

    def _read(self, text: str) -> None:
        if re.search(r"[\0-\x1f\x7f]", text):
            raise ValueError("a URL has no line feeds and no other control characters; " + ENCODE)
        self.scheme, _, rest = text.partition("://")
        self.is_tls = self.scheme.startswith("rediss")
        self.is_cluster = self.scheme.endswith("+cluster")
        login, address, query = _split(rest, self.scheme == "unix")
        self.options: dict[str, Any] = _read_login(login)
        self.hosts: tuple[Host, ...] = ()
        self.path = self.service = ""
        self._read_address(address)
        self._read_options(query)
        if self.is_cluster:
            self._check_one_slot()

    def _check_one_slot(self) -> None:
        if self.options.get("db"):
            raise ValueError("a Redis Cluster has only the database 0; use prefix to keep applications apart")
        if "}" in self.prefix:
            raise ValueError("in a Redis Cluster the option prefix has no '}': all keys would not be in one slot")

    def _read_address(self, address: str) -> None:
        """Read what comes between the login and the query."""
        if self.scheme == "unix":
            if not address.startswith("/"):
                raise ValueError("after unix:// comes the absolute path of the socket: unix:///run/redis.sock")
            self.path = unquote(address)
            return
        hosts, _, path = address.partition("/")
        parts = [unquote(part) for part in path.split("/")] if path else []
        if self.scheme.endswith("+sentinel"):
            if not hosts or not parts or not parts[0] or len(parts) > 2:
                raise ValueError(_SENTINEL_FORM)
            self.service = parts.pop(0)
        self.hosts = self._read_hosts(hosts)
        if len(parts) > 1 or (parts and parts[0] and not parts[0].isdigit()):
            raise ValueError("the path is the number of the database, such as /0")
        if parts and parts[0]:
            self.options["db"] = int(parts[0])

    def _read_hosts(self, text: str) -> tuple[Host, ...]:
        if self.service:
            return tuple(_read_host(host, SENTINEL_PORT) for host in text.split(","))
        if self.is_cluster:
            return tuple(_read_host(host, SERVER_PORT) for host in text.split(","))
        if "," in text:
            raise ValueError(
                "it names several hosts; for Sentinel write redis+sentinel://host:26379,host:26379/service, for a "
                "Redis Cluster %s, otherwise name one server" % _CLUSTER_FORM
            )
        return (_read_host(text, SERVER_PORT),)

    def _read_options(self, query: str) -> None:
        self.sentinel_options: dict[str, Any] = {}
        for option in query.split("&") if query else ():
            name, sign, text = option.partition("=")
            if not sign:  # it is not quoted: it may belong to a password
                raise ValueError(NO_OPTION)
            if not is_option(name) and re.search("@|password=", query):
                raise ValueError(NO_OPTION)
            text = unquote_plus(text)
            value = read_option(name, text, self.is_tls, bool(self.service))
            if name == "prefix":
                self.prefix = text
            elif name.startswith("sentinel_"):
                self.sentinel_options[name[len("sentinel_") :]] = value
            elif value is not None:
                self.options[name] = value


def _split(rest: str, is_unix: bool) -> tuple[str, str, str]:
    """Return login, address and query.

    :raises ValueError: a password seems to have one of the characters that end the login.
    """
    if "#" in rest:
        raise ValueError("'#' has no meaning in a Redis URL; " + ENCODE)
    end = re.search("[/?]", rest)
    authority = rest[: end.start()] if end else rest
    login, at, host = authority.rpartition("@")
    address, _, query = (host + rest[len(authority) :]).partition("?")
    if ("@" in address and (at or not is_unix)) or ("@" in query and not is_unix and _is_doubtful(at, host)):
        raise ValueError(EARLY_END)
    return login, address, query


def _is_doubtful(at: str, host: str) -> bool:
    """Return whether an ``@`` in the query may end a login: there is none, and the host may be the beginning of one."""
    return not at and (not host or ":" in host)


def _read_login(login: str) -> dict[str, Any]:
    user, _, password = login.partition(":")
    found = {"username": unquote(user), "password": unquote(password)}
    return {name: value for name, value in found.items() if value}


def _read_host(text: str, default: int) -> Host:
    found = _HOST.fullmatch(text)
    if found is None:
        raise ValueError(
            "after the host comes a colon and the port, a number (an IPv6 address is written in brackets: [::1]); if "
            "that is a password, the '@' and the host are missing: redis://:password@host:6379/0"
        )
    port = int(found[2] or default)
    if not 0 < port < 65536:
        raise ValueError("a port is a number from 1 to 65535")
    return unquote(found[1].strip("[]")) or "localhost", port
