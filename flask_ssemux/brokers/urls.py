"""Opens a broker by its URL. Nothing about any engine but its URL."""

from __future__ import annotations

import os

from ..errors import ConfigurationError
from ..util import forks, threads
from ..util.redact import without_password
from .contract import Broker
from .memory import MemoryBroker
from .namespace import add_to_path, check_namespace
from .records import HistoryLimits
from .sqlite import SQLiteBroker

#: The beginnings of the Redis broker's URLs.
REDIS = (
    "redis://", "rediss://", "unix://", "redis+sentinel://", "rediss+sentinel://", "redis+cluster://", "rediss+cluster://",
)  # fmt: skip

#: The beginnings of the PostgreSQL broker's URLs.
POSTGRES = ("postgresql://", "postgres://")

#: The beginnings that ``SSEMUX_BROKER`` may have.
SCHEMES = ("memory:", "sqlite:", *REDIS, *POSTGRES)

#: How other packages begin URLs, and how the same is written here.
OTHER_FORMS = {
    "valkey://": "redis://",
    "valkeys://": "rediss://",
    "redis+socket://": "unix:///run/redis.sock?db=0",
    "redis-socket://": "unix:///run/redis.sock?db=0",
    "redis-sentinel://": "redis+sentinel://host:26379/service/0",
    "sentinel://": "redis+sentinel://host:26379/service/0",
    "postgresql+": "postgresql://user:password@host/database",
    "postgres+": "postgresql://user:password@host/database",
    "redis-cluster://": "redis+cluster://host:6379,host:6379",
    "rediss-cluster://": "rediss+cluster://host:6379,host:6379",
    "valkey+cluster://": "redis+cluster://host:6379,host:6379",
    "valkeys+cluster://": "rediss+cluster://host:6379,host:6379",
}

#: The file that ``sqlite:`` alone means, inside the application's instance folder.
DEFAULT_FILE = "ssemux.sqlite3"


def open_broker(
    url: str,
    limits: HistoryLimits | None = None,
    folder: str | None = None,
    namespace: str | None = None,
    is_look: bool = False,
) -> Broker:
    """Return the broker that a URL names. It opens no file and no connection yet.

    :param url: ``memory:``, ``sqlite:``, ``sqlite:///relative``, ``sqlite:////absolute``, ``redis://host:6379/0``,
        ``rediss://``, ``unix:///path``, ``redis+sentinel://host:26379,host:26379/service``,
        ``redis+cluster://host:6379,host:6379``, ``postgresql://user:password@host/database``.
    :param limits: how much of the history is kept; None keeps what the store says.
    :param folder: where relative files are; None if there is no such folder.
    :param namespace: which one of several stores that the URL names.
    :param is_look: for a command that only reads. It makes no file, and changes none.
    :raises ConfigurationError: the URL names no broker that this version has, or the namespace is not valid.
    """
    try:
        namespace = check_namespace(namespace) if namespace else None
    except ValueError as error:
        raise ConfigurationError("SSEMUX_NAMESPACE=%r: %s" % (namespace, error)) from None
    broker = _make_broker(url.strip(), limits, folder, namespace, is_look)
    threads.find_loop()
    forks.register_owner(broker)
    return broker


def _make_broker(
    url: str, limits: HistoryLimits | None, folder: str | None, namespace: str | None, is_look: bool
) -> Broker:
    if url in ("memory:", "memory://"):
        return MemoryBroker(limits or HistoryLimits())
    if url.startswith("sqlite:"):
        return SQLiteBroker(add_to_path(_find_sqlite_path(url, folder), namespace), limits, is_look)
    if url.startswith(REDIS):
        # Imported when it is needed: redis-py imports ssl, which gevent must patch first.
        from .redis import RedisBroker

        return RedisBroker(url, limits, namespace)
    if url.startswith(POSTGRES):
        from .postgres import PostgresBroker

        return PostgresBroker(url, limits, namespace, is_look)
    raise ConfigurationError("SSEMUX_BROKER=%r: %s" % (without_password(url), describe_schemes(url)))


def describe_schemes(url: str) -> str:
    """Return what a broker's URL begins with, for a URL that does not begin so."""
    for beginning, form in OTHER_FORMS.items():
        if url.startswith(beginning):
            return "is written %s here" % form
    return (
        "must be memory:, sqlite:, sqlite:///path/from/the/instance/folder, sqlite:////absolute/path, or one of %s"
        % ", ".join((*REDIS, *POSTGRES))
    )


def absolute_url(url: str, folder: str | None) -> str:
    """Return the URL by which a process without the application names the same broker."""
    return "sqlite:///" + os.path.abspath(_find_sqlite_path(url, folder)) if url.startswith("sqlite:") else url


def _find_sqlite_path(url: str, folder: str | None) -> str:
    rest = url[len("sqlite:") :]
    if rest.startswith("///"):
        path = rest[3:]
    elif rest in ("", "//"):
        path = DEFAULT_FILE
    else:
        raise ConfigurationError(
            "SSEMUX_BROKER=%r: after sqlite: come three slashes and a path, or four and an absolute one" % url
        )
    if path == ":memory:" or not path:
        raise ConfigurationError("SSEMUX_BROKER=%r: for a broker in memory use 'memory:'" % url)
    if os.path.isabs(path):
        return path
    if folder is None:
        raise ConfigurationError(
            "%r names a file in an application's instance folder, and there is no application here; "
            "give the absolute path: sqlite:////path/to/instance/%s" % (url, DEFAULT_FILE)
        )
    return os.path.join(folder, path)
