"""URLs in a form that is safe in error messages, in logs and on the command line. No I/O.

A URL that somebody typed need not be valid, and a password that is not percent-encoded may reach into any part of it.
So only those parts are shown that cannot belong to a password.
"""

from __future__ import annotations

import re

#: The beginnings of URLs that have no password.
_OPEN = ("memory:", "sqlite:")

#: The beginnings of URLs of Unix sockets. If such a URL has no login, it goes on with the path.
_SOCKETS = ("unix:///", "redis+socket:///")

#: Options whose values are shown. All other values may be secrets.
_SHOWN_OPTIONS = re.compile(
    r"prefix|db|protocol|max_connections|client_name|socket_\w+|ssl_(cert_reqs|ca_certs|ca_path|certfile|keyfile|"
    r"check_hostname|min_version)|schema|synchronous_commit|listen_host|listen_port|sslmode|target_session_attrs|"
    r"application_name|connect_timeout"
)

_HIDDEN_OPTIONS = re.compile("(sentinel_|ssl_)?password|(sentinel_)?username")

#: An option and its value.
_OPTION = re.compile(r"[?&]([^=&?]*)=([^&]*)")

#: One or more hosts with their ports. Without a host, the port must be one: it might be a password.
_HOST = r"(?:\[[0-9A-Fa-f:.%\w]+\]|[\w.-]*)(?::\d{1,5})?"
_HOSTS = re.compile(r"%s(?:,%s)*" % (_HOST, _HOST))

#: Types of values that cannot have a password in them.
_PLAIN = (type(None), bool, int, float)

_PLAIN_USER = re.compile(r"[\w.-]+")
_WORD = re.compile(r"[\w+./-]*:?")
_SCHEME = re.compile(r"[A-Za-z][\w.+-]*:")


def without_password(url: str) -> str:
    """Return the URL with ``***`` instead of everything that may be a part of a password."""
    if url.startswith(_OPEN) or _WORD.fullmatch(url):
        return url
    scheme = _SCHEME.match(url)
    if scheme is None or not url.startswith("//", scheme.end()):
        return "%s***" % (scheme.group() if scheme else "")
    rest = url[scheme.end() + 2 :]
    if _is_doubtful(rest) and not url.startswith(_SOCKETS):
        return scheme.group() + "//***"
    before, mark, query = _split_query(rest) if not url.startswith(_SOCKETS) else rest.partition("?")
    shown = before if url.startswith(_SOCKETS) else _redact_address(before)
    return "%s//%s%s" % (scheme.group(), shown, mark + "&".join(map(_redact_option, query.split("&"))))


def redact_value(value: object) -> object:
    """Return a value that should be a URL in a form that may be shown."""
    if isinstance(value, str):
        return without_password(value)
    return value if isinstance(value, _PLAIN) else "(%s)" % type(value).__name__


def _is_doubtful(rest: str) -> bool:
    """Return whether an ``@`` belongs to a secret option, or what looks like an option belongs to a password."""
    if re.search("password=.*@", rest):
        return True
    return any("@" in value and not _SHOWN_OPTIONS.fullmatch(name) for name, value in _OPTION.findall(rest))


def _split_query(rest: str) -> tuple[str, str, str]:
    """Split at the question mark. One before the last ``@`` belongs to a password."""
    login, at, address = rest.rpartition("@")
    before, mark, query = address.partition("?")
    return login + at + before, mark, query


def _redact_address(address: str) -> str:
    """Return login, host and path without what may be a part of a password."""
    login, at, place = address.rpartition("@")
    user, colon, _ = login.partition(":")
    shown = (user if colon and _PLAIN_USER.fullmatch(user) else "") + colon + "***@" if at else ""
    place, fragment_mark, _ = place.partition("#")
    host, slash, path = place.partition("/")
    if not _HOSTS.fullmatch(host):
        return shown + "***"
    return shown + host + slash + path + (fragment_mark and "#***")


def _redact_option(option: str) -> str:
    """Return an option. If it is not known, its name, too, may be a part of a password."""
    name, _, value = option.partition("=")
    if not option or (_SHOWN_OPTIONS.fullmatch(name) and "#" not in value):
        return option
    return "%s=***" % name if _HIDDEN_OPTIONS.fullmatch(name) else "***"
