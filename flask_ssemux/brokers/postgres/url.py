"""Reads a PostgreSQL URL: libpq's own form, and our options, which libpq does not know. Opens nothing."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from ...errors import ConfigurationError
from ...util.redact import without_password
from ..namespace import PREFIX
from .connection import driver

#: The longest name of a schema, in bytes, that PostgreSQL does not cut off.
LONGEST = 63

COMMIT_MODES = ("on", "off", "local", "remote_write", "remote_apply")

#: Our options: what each may be.
_OPTIONS = {
    "schema": re.compile(r"[^\0\"]+"),
    "synchronous_commit": re.compile("|".join(COMMIT_MODES)),
    "listen_host": re.compile(r"\S+"),
    "listen_port": re.compile(r"\d{1,5}"),
}

_ENCODE = (
    "a character with a meaning of its own that belongs to the password is percent-encoded ('#' is %23, '/' is %2F, "
    "'?' is %3F, '@' is %40, '%' is %25, ':' is %3A); urllib.parse.quote(password, safe='') does that"
)


class PostgresURL:
    """What a URL says.

    :param text: the URL, as in ``SSEMUX_BROKER``.
    :param namespace: is added to the name of the schema.
    :raises ConfigurationError: the URL cannot be understood.

    :ivar parameters: of libpq's connection.
    :ivar listen_parameters: the same for the connection that listens.
    :ivar schema: where the tables are.
    :ivar commit_mode: of synchronous_commit; "" for the server's setting.
    :ivar shown: the URL without passwords and without options.
    :ivar secrets: all passwords.
    """

    def __init__(self, text: str, namespace: str | None = None) -> None:
        self.shown = without_password(text).partition("?")[0]
        try:
            rest, own = _take_options(text)
            self.parameters = _parse(rest)
            self.schema = _check_schema("%s_%s" % (own.get("schema", PREFIX), namespace) if namespace
                                        else own.get("schema", PREFIX))  # fmt: skip
        except ValueError as error:
            raise ConfigurationError("SSEMUX_BROKER=%r: %s" % (self.shown, error)) from None
        self.commit_mode = own.get("synchronous_commit", "")
        self.secrets = [value for name, value in self.parameters.items() if "password" in name and value]
        self.listen_parameters = dict(self.parameters)
        for name in ("host", "port"):
            if "listen_" + name in own:
                self.listen_parameters[name] = own["listen_" + name]
                self.listen_parameters.pop("hostaddr", None)

    def __repr__(self) -> str:
        return "<PostgresURL %s>" % self.shown

    @property
    def place(self) -> str:
        """The database and the schema: the same text however the URL is written."""
        known = self.parameters
        where = known.get("host") or known.get("hostaddr") or known.get("service") or ""
        database = known.get("dbname") or known.get("user", "")
        return "postgresql://%s:%s/%s (schema %s)" % (where, known.get("port", "5432"), database, self.schema)


def _take_options(text: str) -> tuple[str, dict[str, str]]:
    """Return the URL without our options, and these.

    :raises ValueError: one of them has another form.
    """
    if re.search(r"[\0-\x20\x7f]", text):
        raise ValueError("a URL has no spaces, no line feeds and no other control characters; " + _ENCODE)
    before, mark, query = text.partition("?")
    if "@" in query and "@" not in before:
        raise ValueError("'?' comes before the '@'; " + _ENCODE)
    own, left = {}, []
    for option in query.split("&") if query else ():
        name, _, value = option.partition("=")
        if name not in _OPTIONS:
            left.append(option)
            continue
        own[name] = unquote(value)
        if not _OPTIONS[name].fullmatch(own[name]):
            raise ValueError("the option %s=%s is not valid%s" % (name, own[name], _describe_option(name)))
    return before + mark * bool(left) + "&".join(left), own


def _describe_option(name: str) -> str:
    return ": it is one of " + ", ".join(COMMIT_MODES) if name == "synchronous_commit" else ""


def _check_schema(name: str) -> str:
    if len(name.encode("utf-8")) > LONGEST or name.startswith("pg_"):
        raise ValueError(
            "the schema %r, with the namespace, must have at most %d bytes and not begin with pg_" % (name, LONGEST)
        )
    return name


def _parse(text: str) -> dict[str, str]:
    """Return libpq's parameters.

    :raises ValueError: it does not understand the URL. Its message may quote a part of a password.
    """
    try:
        options: list[Any] = driver.pq.Conninfo.parse(text.encode("utf-8"))
    except driver.Error as error:
        said = str(error).strip().split('"')[0].strip(" :")
        raise ValueError("libpq does not understand it: %s ...; %s" % (said, _ENCODE)) from None
    return {it.keyword.decode("ascii"): it.val.decode("utf-8") for it in options if it.val is not None}
