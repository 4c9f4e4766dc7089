"""``flask ssemux doctor``: reads what the user asks for, and prints the report. The checks are made elsewhere.

It needs neither an application nor Flask: ``python -m flask_ssemux doctor`` calls it without both.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Iterable, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import click

from .advice import describe_hops, find_hop
from .call import Address, Caller, get_address, make_context
from .checks import run_checks
from .examination import Inquiry, examine
from .reach import DEFAULT_URL
from .report import Check, DoctorReport
from .server_side import run_server_checks


class FoundApplication(NamedTuple):
    """What is known of the application.

    :param app: None if there is none here.
    :param state: what its ``extensions`` hold; None if it does not use flask_ssemux.
    :param trouble: the check that says why there is no application; None if that is no trouble.
    :param why_no_key: why its SECRET_KEY is not known.
    """

    app: Any = None
    state: Any = None
    trouble: Check | None = None
    why_no_key: str = "this application has no SECRET_KEY, which a probe needs"

    @property
    def stream_path(self) -> str | None:
        """The path of the application's stream; None if it has none."""
        if self.state is None:
            return DEFAULT_URL
        path: str | None = self.state.options.url
        return path


def run_doctor(
    found: FoundApplication,
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
    """Run the checks, print the report, and exit with 1 if a check failed."""
    progress = _Progress()
    try:
        if url:
            report = _examine_url(found, url, headers, cookies, timeout, insecure, ca, connect_to, progress)
        else:
            report = _examine_server(found, config)
    finally:
        progress.clear()
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=1, ensure_ascii=False))
    else:
        for line in report.format_lines():
            click.echo(line)
    sys.exit(0 if report.is_ok else 1)


def _examine_url(
    found: FoundApplication,
    url: str,
    headers: Iterable[str],
    cookies: Iterable[str],
    timeout: float,
    insecure: bool,
    ca: str | None,
    connect_to: str | None,
    progress: _Progress,
) -> DoctorReport:
    began = time.monotonic()
    try:
        context = make_context(insecure, ca)
    except OSError as error:
        raise click.UsageError("--ca %s: %s" % (ca, error)) from None
    url = _complete_url(url, found.stream_path)
    detours = {get_address(url): _parse_address(connect_to)} if connect_to else {}
    caller = Caller(_parse_headers(headers, cookies), timeout, context, detours)
    key = None if found.app is None else found.app.secret_key
    configured = found.stream_path if found.state is not None else None
    seen = examine(Inquiry(url, caller, timeout, key, progress, found.why_no_key, configured))
    checks = run_checks(seen)
    seconds = time.monotonic() - began
    return DoctorReport(seen.url, find_hop(seen.headers), describe_hops(seen.headers), seconds, checks)


def _examine_server(found: FoundApplication, config: str | None) -> DoctorReport:
    began = time.monotonic()
    checks = [found.trouble] if found.trouble is not None else []
    checks += run_server_checks(found.app, found.state, config)
    subject = "the server side" + ("" if found.app is None else " of %r" % found.app.name)
    return DoctorReport(subject, "", "", time.monotonic() - began, checks)


def _complete_url(url: str, path: str | None) -> str:
    """Return the URL, with the path of the application's stream if it has no path."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.UsageError("%r is not a URL; write it as in a browser: https://shop.example/events" % url)
    try:
        parts.port  # noqa: B018
    except ValueError as error:
        raise click.UsageError("%r: %s" % (url, error)) from None
    if parts.path not in ("", "/") or parts.query:
        return url
    if path is None:
        raise click.UsageError(
            "%r has no path, and SSEMUX_URL is off: write the whole URL of a stream, such as "
            "https://shop.example/api/jobs/stream" % url
        )
    return urlunsplit(parts._replace(path=path, fragment=""))


def _parse_address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise click.UsageError("--connect-to %r: write it as HOST:PORT" % text)
    return host.strip("[]"), int(port)


def _parse_headers(headers: Iterable[str], cookies: Iterable[str]) -> dict[str, str]:
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
    """A line that says what is waited for, overwritten each time. It is only shown on a terminal."""

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
