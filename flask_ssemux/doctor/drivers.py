"""Finds database drivers that block gevent's loop: drivers written in C, which gevent cannot patch.

While such a driver waits, the worker sends no heartbeats.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any, Iterator, Mapping, NamedTuple

from .report import Advice


class Driver(NamedTuple):
    """A driver that blocks.

    :param module: the module that is imported.
    :param fix: what to use instead, or in addition.
    """

    module: str
    fix: Advice


PSYCOGREEN = Advice(
    "psycopg2 waits in C: use psycopg 3, or make psycopg2 wait with gevent, in gunicorn.conf.py (pip install "
    "psycogreen):",
    ("def post_fork(server, worker):", "    from psycogreen.gevent import patch_psycopg", "    patch_psycopg()"),
)
PYMYSQL = Advice("mysqlclient waits in C: use a driver written in Python:", ("mysql+pymysql://…",))
THIN = Advice("cx_Oracle waits in C: use python-oracledb in its thin mode:", ("oracle+oracledb://…",))
ODBC = Advice(
    "pyodbc waits in C: run its queries in gevent's thread pool, or use a driver written in Python (python-tds)."
)
CONNECTOR = Advice(
    "MySQL Connector waits in C if its extension is installed: connect with use_pure=True, or use PyMySQL."
)

#: By the driver's name in SQLAlchemy's URLs, or by the database's name if the driver is its default.
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


def get_database_urls(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the database URLs of Flask-SQLAlchemy's configuration."""
    binds = config.get("SQLALCHEMY_BINDS") or {}
    for value in [config.get("SQLALCHEMY_DATABASE_URI"), *binds.values()]:
        found = value.get("url") if isinstance(value, dict) else value
        if found:
            yield str(found)


def find_blocking_driver(url: str) -> Driver | None:
    """Return the driver of a database URL, if it blocks."""
    scheme = url.partition(":")[0].lower()
    database, _, driver = scheme.partition("+")
    return BLOCKING.get(driver or database)


def find_installed_drivers() -> list[Driver]:
    """Return the blocking drivers that are installed and so could be in use."""
    return [driver for driver in dict.fromkeys(BLOCKING.values()) if _is_installed(driver.module)]


def is_made_cooperative(driver: Driver) -> bool:
    """Tell whether psycopg2 waits with gevent, or may do so when gunicorn's hook calls psycogreen."""
    if driver.fix is not PSYCOGREEN:
        return False
    loaded = sys.modules.get("psycopg2.extensions")
    return _is_installed("psycogreen") or bool(loaded and loaded.get_wait_callback())


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
