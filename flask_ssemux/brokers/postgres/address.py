"""Where a PostgreSQL server is, by its URL, and how a connection to it is opened. No SQL, nothing about events."""

from __future__ import annotations

import socket
import time
from typing import Iterator, Mapping, NamedTuple

from ...errors import BrokerUnavailable, ConfigurationError
from ...util.redact import without_password
from .connection import Connection, driver, open_connection
from .refusal import ConnectionLost, make_refusal
from .url import PostgresURL

#: Seconds that a new connection may take, even if less time is left.
LEAST = 0.5

#: What a URL may override. The keepalives notice a connection that a NAT has forgotten.
_DEFAULTS = {
    "fallback_application_name": "flask_ssemux",
    "target_session_attrs": "read-write",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
}


class Host(NamedTuple):
    """One server to try."""

    host: str
    hostaddr: str
    port: str


class Address:
    """Where a server is, and how to connect to it.

    :param url: as ``SSEMUX_BROKER``.
    :param namespace: is added to the name of the schema.
    :raises ConfigurationError: psycopg is missing, or the URL cannot be understood.
    """

    def __init__(self, url: str, namespace: str | None = None) -> None:
        if driver is None:
            raise ConfigurationError(
                "SSEMUX_BROKER=%r needs the package psycopg 3: pip install 'flask_ssemux[postgres]'"
                % without_password(url)
            )
        read = PostgresURL(url, namespace)
        self.schema, self.commit_mode = read.schema, read.commit_mode
        self.shown, self.secrets = read.shown, read.secrets
        self.store_name = read.place
        self._parameters, self._listen_parameters = read.parameters, read.listen_parameters

    def make_refusal(self, error: object) -> BrokerUnavailable:
        """Return the error for a call that failed: see ``refusal.py``."""
        return make_refusal(self.shown, error, self.secrets)

    def replace_url(self, url: str) -> Address:
        """Return another address of the same schema."""
        made = Address(url)
        made.schema = self.schema
        return made

    def connect(self, deadline: float, listens: bool = False) -> Connection:
        """Return an open connection to the first of the URL's servers that takes writes.

        :param listens: whether it is the connection that listens.
        :raises ConnectionLost: there is none.
        """
        parameters = {**_DEFAULTS, **(self._listen_parameters if listens else self._parameters)}
        parameters["client_encoding"] = "UTF8"
        hosts = list(_list_hosts(parameters))
        failures = []
        for number, host in enumerate(hosts):
            now = time.monotonic()
            until = now + max(LEAST, (deadline - now) / (len(hosts) - number))
            try:
                return open_connection(_make_conninfo({**parameters, **_name_host(host)}), until)
            except ConnectionLost as error:
                failures.append(str(error).strip())
        raise ConnectionLost("; ".join(dict.fromkeys(failures)))


def _list_hosts(parameters: Mapping[str, str]) -> Iterator[Host]:
    """Yield each server with each of its addresses. Names are resolved here: libpq would block gevent's loop."""
    names = parameters.get("host", "").split(",")
    addresses = parameters["hostaddr"].split(",") if "hostaddr" in parameters else []
    ports = parameters.get("port", "").split(",")
    for number, name in enumerate(names if len(names) >= len(addresses) else [""] * len(addresses)):
        port = ports[number] if len(ports) > 1 else ports[0]
        if number < len(addresses):
            yield Host(name, addresses[number], port)
        else:
            yield from (Host(name, address, port) for address in _resolve(name))


def _resolve(name: str) -> list[str]:
    """Return the addresses of a host; [""] for a Unix socket and for what libpq reports as unknown."""
    if not name or name.startswith(("/", "@")):
        return [""]
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return [""]
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _name_host(host: Host) -> dict[str, str]:
    return dict(host._asdict())


def _make_conninfo(parameters: Mapping[str, str]) -> str:
    """Return libpq's connection string."""
    quoted = ((name, value.replace("\\", "\\\\").replace("'", "\\'")) for name, value in parameters.items() if value)
    return " ".join("%s='%s'" % pair for pair in quoted)
