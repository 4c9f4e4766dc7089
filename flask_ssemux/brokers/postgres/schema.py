"""The version of the tables and functions in the database, and how they are made and migrated. The SQL is in ``sql``.

``VERSION`` grows with each change of a file in ``sql``. A change of a table gets a file of its own, which
``MIGRATIONS`` names by the version that it leads to. Functions are replaced by each migration. Processes of the
version before may run meanwhile, so a migration keeps what they call, or raises ``COMPATIBLE``.
"""

from __future__ import annotations

import os
import secrets
import time
from functools import lru_cache

from ...errors import BrokerUnavailable
from .address import Address
from .connection import Connection
from .news import SMALL
from .refusal import ConnectionLost, ServerError

#: The version of the files in ``sql``, and the oldest version whose programs may use a database of this version.
VERSION, COMPATIBLE = 2, 2

#: The greatest sequence that PostgreSQL can store.
GREATEST = 2**63 - 1

#: Settings of the functions that a process calls. A connection keeps its plans, also those from when a table was nearly
#: empty, and to read all of it was best. Therefore no plan reads a table as a whole, or sorts it, if there is an index;
#: ``jit`` would compile what has none, since it counts as costly then. Functions that are called seldom plan each time,
#: but not those that store or delete events: they run several queries for each event.
PLAN = "SET enable_seqscan = off SET enable_sort = off SET jit = off"
REPLAN = PLAN + " SET plan_cache_mode = force_custom_plan"

#: The least version of the server, as libpq writes it.
LEAST_SERVER = 120000

#: The file of each version whose tables differ from those of the version before.
MIGRATIONS = {1: "tables.sql", 2: "tables_2.sql"}

#: Seconds that the command may take: a migration waits for processes that use the tables.
INIT_SECONDS = 60.0

FUNCTIONS = ("life.sql", "append.sql", "read.sql", "trim.sql", "leases.sql", "presence.sql", "reports.sql", "work.sql")

#: It reads the catalog as of now: ``to_regclass`` may go by what it found before another process made the tables.
_EXISTS = (
    "SELECT EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
    "WHERE n.nspname = $1::text AND c.relname = 'state')"
)

_FOLDER = os.path.join(os.path.dirname(__file__), "sql")


def make_script(schema: str, version: int = 0, role: str | None = None) -> str:
    """Return the SQL that makes everything, or brings it up to date.

    :param schema: where the tables are.
    :param version: of what is there; 0 if there is nothing.
    :param role: a role that gets all rights that a process needs; None for none.
    """
    files = [MIGRATIONS[it] for it in sorted(MIGRATIONS) if it > version]
    parts = [_read_file(name) for name in (*files, *FUNCTIONS)]
    parts.append("UPDATE {schema}.state SET version = %d, compatible = %d;\n" % (VERSION, COMPATIBLE))
    parts += [_make_grants(role)] if role else []
    script = "\n".join(parts)
    secret = _quote_text("ssemux_" + secrets.token_hex(16))
    script = script.replace("{greatest}", str(GREATEST)).replace("{small}", str(SMALL)).replace("{plan}", PLAN)
    script = script.replace("{replan}", REPLAN).replace("{secret}", secret)
    return script.replace("{schema}", quote_name(schema)).replace("{channel}", _quote_text(schema))


def write_script(schema: str, version: int = 0, role: str | None = None) -> str:
    """Return the same as one transaction, for ``psql``."""
    return "BEGIN;\n%s%sCOMMIT;\n" % (make_lock(schema), make_script(schema, version, role))


def init_database(address: Address, role: str | None = None) -> int:
    """Make or migrate the tables; return their version.

    :param role: a role that gets all rights that a process needs; None for none.
    :raises BrokerUnavailable: this was not possible.
    """
    deadline = time.monotonic() + INIT_SECONDS
    try:
        connection = address.connect(deadline)
        try:
            prepare_schema(connection, address, deadline)
            if role:
                connection.run_script(_make_grants(role).replace("{schema}", quote_name(address.schema)), deadline)
            return read_version(connection, address, deadline)
        finally:
            connection.close()
    except (ConnectionLost, ServerError) as error:
        raise address.make_refusal(error) from None


def quote_name(name: str) -> str:
    """Return a name as it is written in SQL."""
    return '"%s"' % name.replace('"', '""')


def _quote_text(text: str) -> str:
    return "'%s'" % text.replace("'", "''")


@lru_cache(maxsize=None)
def _read_file(name: str) -> str:
    with open(os.path.join(_FOLDER, name), encoding="utf-8") as file:
        return file.read()


def _make_grants(role: str) -> str:
    return (
        "GRANT USAGE ON SCHEMA {schema} TO %(role)s;\n"
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO %(role)s;\n"
        "GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA {schema} TO %(role)s;\n"
        "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO %(role)s;\n"
    ) % {"role": quote_name(role)}


# -- what is in the database -----------------------------------------------------------


def prepare_schema(connection: Connection, address: Address, deadline: float, is_look: bool = False) -> None:
    """Make the tables if they are missing, or bring them up to date.

    :param is_look: make nothing.
    :raises ServerError: this role may not.
    :raises BrokerUnavailable: the server or the tables cannot be used.
    """
    if connection.server_version < LEAST_SERVER:
        number = connection.server_version // 10000
        raise address.make_refusal("the server's version is %d; 12 or newer is needed" % number)
    version = read_version(connection, address, deadline)
    if version >= VERSION:
        return
    if is_look:
        raise address.make_refusal("it has no tables yet; the first stream or event makes them")
    _check_encoding(connection, address, deadline)
    connection.run_script("BEGIN", deadline)
    try:
        connection.run_script(make_lock(address.schema), deadline)
        version = read_version(connection, address, deadline)
        if version < VERSION:  # otherwise another process was faster
            connection.run_script(make_script(address.schema, version), deadline)
    except BaseException:
        connection.close()
        raise
    connection.run_script("COMMIT", deadline)


def make_lock(schema: str) -> str:
    """Return the SQL that waits until no other process makes or migrates the tables."""
    return "SELECT pg_advisory_xact_lock(hashtext('flask_ssemux'), hashtext(%s));\n" % _quote_text(schema)


def read_version(connection: Connection, address: Address, deadline: float) -> int:
    """Return the version in the database; 0 if there are no tables.

    :raises BrokerUnavailable: programs of this version must not use it.
    """
    ((exists,),) = connection.ask(_EXISTS, (address.schema,), deadline)
    if not exists:
        return 0
    query = "SELECT version, compatible FROM %s.state" % quote_name(address.schema)
    ((version, compatible),) = connection.ask(query, (), deadline)
    if compatible > VERSION:
        raise _make_newer(address, version)
    return int(version)


def _make_newer(address: Address, version: int) -> BrokerUnavailable:
    return address.make_refusal(
        "the tables in the schema %s have version %d, and this flask_ssemux knows %d: install a newer one, or another "
        "schema: ?schema=name" % (address.schema, version, VERSION)
    )


def _check_encoding(connection: Connection, address: Address, deadline: float) -> None:
    ((encoding,),) = connection.ask("SELECT current_setting('server_encoding')", (), deadline)
    if encoding != "UTF8":
        raise address.make_refusal("the database's encoding is %s, and UTF8 is needed" % encoding)
