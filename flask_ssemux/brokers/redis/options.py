"""The options in the query of a Redis URL: their names, and how their values are read. Nothing else about URLs.

Options that other packages write into the same URL, and that have no meaning here, are accepted and have no effect.
"""

from __future__ import annotations

import difflib
from typing import Any, Callable, Mapping

#: What Celery, Kombu, Heroku and redis-py write for ``ssl_cert_reqs``, in lower case and without ``cert_``.
CERTIFICATES = ("none", "optional", "required")

_TRUE, _FALSE = ("1", "true", "t", "yes", "y", "on"), ("0", "false", "f", "no", "n", "off")


def _read_number(text: str) -> int:
    if not text.isdigit():
        raise ValueError("must be a number")
    return int(text)


def _read_switch(text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError("must be true or false")
    return text.lower() in _TRUE


def _read_certificates(text: str) -> str:
    word = text.lower()
    word = word[len("cert_") :] if word.startswith("cert_") else word
    if word not in CERTIFICATES:
        raise ValueError(
            "must be none, optional or required (or CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED); none accepts any "
            "certificate"
        )
    return word


def _read_protocol(text: str) -> None:
    if text not in ("2", "3"):
        raise ValueError("must be 2 or 3; it has no effect")


def _ignore(text: str) -> None:
    """Read an option that has no effect: connections, their time limits and their encoding are the broker's own."""


#: Options of the connection that its URL may set.
_CONNECTION: Mapping[str, Callable[[str], Any]] = {
    "db": _read_number,
    "username": str,
    "password": str,
    "client_name": str,
    "lib_name": str,
    "lib_version": str,
    "socket_keepalive": _read_switch,
}

_TLS: Mapping[str, Callable[[str], Any]] = {
    "ssl_cert_reqs": _read_certificates,
    "ssl_check_hostname": _read_switch,
    "ssl_ca_certs": str,
    "ssl_ca_path": str,
    "ssl_ca_data": str,
    "ssl_certfile": str,
    "ssl_keyfile": str,
    "ssl_password": str,
    "ssl_ciphers": str,
    "ssl_min_version": _read_number,
    "ssl_validate_ocsp": _read_switch,
    "ssl_validate_ocsp_stapled": _read_switch,
}

_SENTINEL: Mapping[str, Callable[[str], Any]] = {"sentinel_username": str, "sentinel_password": str}

_OURS: Mapping[str, Callable[[str], Any]] = {"prefix": str}

_WITHOUT_EFFECT: Mapping[str, Callable[[str], Any]] = {
    "protocol": _read_protocol,
    **dict.fromkeys(
        (
            "decode_responses", "encoding", "encoding_errors", "health_check_interval", "legacy_responses",
            "max_connections", "retry_on_error", "retry_on_timeout", "socket_connect_timeout", "socket_read_size",
            "socket_timeout", "timeout",
        ),
        _ignore,
    ),
}  # fmt: skip

_ALL = {**_CONNECTION, **_TLS, **_SENTINEL, **_OURS, **_WITHOUT_EFFECT}


def is_option(name: str) -> bool:
    return name in _ALL


def read_option(name: str, text: str, is_tls: bool, is_sentinel: bool) -> Any:
    """Return an option's value; None if it has no effect.

    :param text: as in the URL, decoded.
    :raises ValueError: there is no such option, or the value is not valid; values are not quoted.
    """
    if name not in _ALL:
        raise ValueError(_describe_unknown(name))
    if not text:
        raise ValueError("the option %s has no value; give it one, or remove it" % name)
    if name in _TLS and not is_tls:
        raise ValueError("the option %s is for TLS, and this is not a TLS URL; write rediss:// for TLS" % name)
    if name in _SENTINEL and not is_sentinel:
        raise ValueError("the option %s is for Sentinel: redis+sentinel://host:26379/service" % name)
    try:
        return _ALL[name](text)
    except ValueError as error:
        raise ValueError("the option %s %s" % (name, error)) from None


def _describe_unknown(name: str) -> str:
    """Return the error for an option that does not exist."""
    if name in ("ssl", "tls"):
        return "there is no option %s; write rediss:// for TLS" % name
    near = difflib.get_close_matches(name.lower(), _ALL, n=1)
    hint = "did you mean %s?" % near[0] if near else "docs/redis.md lists the options"
    return "there is no option %s; %s" % (name, hint)
