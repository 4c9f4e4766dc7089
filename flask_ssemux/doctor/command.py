"""``flask ssemux doctor``: what the user says, and what is printed. No checks."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Iterable
from urllib.parse import urlsplit, urlunsplit

import click
from flask import current_app

from ..state import current
from .advice import hop_of, told_by
from .call import Address, Caller, address_of, make_context
from .checks import checks_of
from .examination import Asked, examine
from .report import Report
from .server_side import server_checks


def run(
    url: str | None,
    headers: Iterable[str],
    cookies: Iterable[str],
    timeout: float,
    insecure: bool,
    ca: str | None,
    connect_to: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Make the checks, print them, and exit with 1 if one failed."""
    progress = _Progress()
    try:
        report = _url(url, headers, cookies, timeout, insecure, ca, connect_to, progress) if url else _server(config)
    finally:
        progress.clear()
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=1, ensure_ascii=False))
    else:
        for line in report.lines():
            click.echo(line)
    sys.exit(0 if report.is_ok else 1)


def _url(
    url: str,
    headers: Iterable[str],
    cookies: Iterable[str],
    timeout: float,
    insecure: bool,
    ca: str | None,
    connect_to: str | None,
    progress: _Progress,
) -> Report:
    began = time.monotonic()
    try:
        context = make_context(insecure, ca)
    except OSError as error:
        raise click.UsageError("--ca %s: %s" % (ca, error)) from None
    url = _whole(url)
    detours = {address_of(url): _address(connect_to)} if connect_to else {}
    caller = Caller(_headers(headers, cookies), timeout, context, detours)
    seen = examine(Asked(url, caller, timeout, current_app.secret_key, progress))
    checks = checks_of(seen)
    return Report(seen.url, hop_of(seen.headers), told_by(seen.headers), time.monotonic() - began, checks)


def _server(config: str | None) -> Report:
    began = time.monotonic()
    found = server_checks(current_app, current(), config)
    return Report("the server side of %r" % current_app.name, "", "", time.monotonic() - began, found)


def _whole(url: str) -> str:
    """The URL, with the stream's path where it has none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.UsageError("%r is no URL; write it as a browser has it: https://shop.example/events" % url)
    try:
        parts.port  # noqa: B018
    except ValueError as error:
        raise click.UsageError("%r: %s" % (url, error)) from None
    has_path = parts.path not in ("", "/") or parts.query
    return url if has_path else urlunsplit(parts._replace(path=current().options.url, fragment=""))


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise click.UsageError("--connect-to %r: write it as HOST:PORT" % text)
    return host.strip("[]"), int(port)


def _headers(headers: Iterable[str], cookies: Iterable[str]) -> dict[str, str]:
    made = {}
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip() or any(sign in header for sign in "\r\n"):
            raise click.UsageError("--header %r: write it as 'Name: value'" % header)
        made[name.strip()] = value.strip()
    cookie = "; ".join(cookies)
    if cookie:
        made["Cookie"] = cookie
    return made


class _Progress:
    """A line that is written over, on a terminal; elsewhere nothing."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._said = ""

    def __call__(self, text: str) -> None:
        if self._is_shown and text != self._said:
            self._write(text)

    def clear(self) -> None:
        if self._said:
            self._write("")

    def _write(self, text: Any) -> None:
        click.echo("\r%s\r%s" % (" " * len(self._said), text), nl=False, err=True)
        self._said = text
