"""Database drivers that block gevent's loop: in C, where nothing is patched. While one waits, no heartbeat goes out."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any, Iterator, Mapping, NamedTuple

from .report import Advice


class Driver(NamedTuple):
    """A driver that blocks.

    :param module: by which it is imported.
    :param fix: what to use instead, or beside it.
    """

    module: str
    fix: Advice


PSYCOGREEN = Advice(
    "psycopg2 waits in C: let it wait by gevent, in gunicorn.conf.py (pip install psycogreen), or use psycopg 3:",
    ("def post_fork(server, worker):", "    from psycogreen.gevent import patch_psycopg", "    patch_psycopg()"),
)
PYMYSQL = Advice("mysqlclient waits in C: use a driver in Python:", ("mysql+pymysql://…",))
THIN = Advice("cx_Oracle waits in C: use python-oracledb in its thin mode:", ("oracle+oracledb://…",))
ODBC = Advice("pyodbc waits in C: run its queries in gevent's thread pool, or use a driver in Python (python-tds).")
CONNECTOR = Advice("MySQL Connector waits in C where it has its extension: connect with use_pure=True, or use PyMySQL.")

#: By the driver's name in SQLAlchemy's URLs, and the database's, whose default it is.
BLOCKING = {
    "psycopg2": Driver("psycopg2", PSYCOGREEN),
    "postgresql": Driver("psycopg2", PSYCOGREEN),
    "postgres": Driver("psycopg2", PSYCOGREEN),
    "mysqldb": Driver("MySQLdb", PYMYSQL),
    "mysql": Driver("MySQLdb", PYMYSQL),
    "mariadb": Driver("MySQLdb", PYMYSQL),
    "mysqlconnector": Driver("mysql.connector", CONNECTOR),
    "cx_oracle": Driver("cx_Oracle", THIN),
    "oracle": Driver("cx_Oracle", THIN),
    "pyodbc": Driver("pyodbc", ODBC),
    "mssql": Driver("pyodbc", ODBC),
}


def urls_of(config: Mapping[str, Any]) -> Iterator[str]:
    """The databases' URLs that Flask-SQLAlchemy is given; only what is before the colon matters here."""
    binds = config.get("SQLALCHEMY_BINDS") or {}
    for value in [config.get("SQLALCHEMY_DATABASE_URI"), *binds.values()]:
        found = value.get("url") if isinstance(value, dict) else value
        if found:
            yield str(found)


def blocking(url: str) -> Driver | None:
    """The driver of a database's URL, if it blocks."""
    scheme = url.partition(":")[0].lower()
    database, _, driver = scheme.partition("+")
    return BLOCKING.get(driver or database)


def installed() -> list[Driver]:
    """Those that could be in use."""
    return [driver for driver in dict.fromkeys(BLOCKING.values()) if _is_there(driver.module)]


def is_mended(driver: Driver) -> bool:
    """Whether psycopg2 was told to wait by gevent; or can be, by gunicorn's hook, which does not run here."""
    if driver.fix is not PSYCOGREEN:
        return False
    loaded = sys.modules.get("psycopg2.extensions")
    return _is_there("psycogreen") or bool(loaded and loaded.get_wait_callback())


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
