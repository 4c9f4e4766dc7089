"""What a check found, and how the report is formatted: as text, and as JSON for programs. Nothing is measured here."""

from __future__ import annotations

from typing import Any, Iterable, Iterator, NamedTuple

import click

from ..util.printable import make_printable

OK, WARN, FAIL, SKIPPED = "ok", "warn", "fail", "skipped"

COLOURS = {OK: "green", WARN: "yellow", FAIL: "red", SKIPPED: "bright_black"}


class Advice(NamedTuple):
    """What to do.

    :param text: a sentence that says what to change and where.
    :param lines: the exact lines of configuration.
    """

    text: str
    lines: tuple[str, ...] = ()


class Check(NamedTuple):
    """What one check found.

    :param name: a short name that is the same in every run.
    :param status: ``OK``, ``WARN``, ``FAIL`` or ``SKIPPED`` (the check could not be made, and ``said`` says why).
    :param said: what was found, as text.
    :param advice: how to fix it.
    :param measured: the same as ``said``, for programs.
    """

    name: str
    status: str
    said: str
    advice: tuple[Advice, ...] = ()
    measured: dict[str, Any] = {}


class DoctorReport(NamedTuple):
    """All checks of one run.

    :param subject: what was checked.
    :param hop: the hop that the advice is about; "" if there is none.
    :param hops: how hops name themselves in the response headers; "" if they do not.
    :param seconds: how long the run took.
    """

    subject: str
    hop: str
    hops: str
    seconds: float
    checks: list[Check]

    @property
    def is_ok(self) -> bool:
        """Whether no check failed; warnings do not count."""
        return all(check.status != FAIL for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        return {
            "subject": self.subject,
            "hop": self.hop,
            "hops": self.hops,
            "ok": self.is_ok,
            "seconds": round(self.seconds, 3),
            "checks": [_as_dict(check) for check in self.checks],
        }

    def format_lines(self) -> Iterator[str]:
        """Yield the report as text. ``click.echo`` removes the colours if it does not write to a terminal."""
        yield make_printable(self.subject + (" (%s)" % self.hops if self.hops else ""))
        for check in self.checks:
            yield from _format_check(check)
        yield "%s, in %.1f s" % (self.format_summary(), self.seconds)

    def format_summary(self) -> str:
        counts = [(status, sum(check.status == status for check in self.checks)) for status in COLOURS]
        return ", ".join("%d %s" % (count, status) for status, count in counts if count)


def _as_dict(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "status": check.status,
        "said": check.said,
        "measured": check.measured,
        "advice": [{"text": advice.text, "lines": list(advice.lines)} for advice in check.advice],
    }


def _format_check(check: Check) -> Iterator[str]:
    status = click.style("%-7s" % check.status, fg=COLOURS[check.status])
    yield "  %s  %-13s %s" % (status, check.name, make_printable(check.said))
    indent = " " * 25
    for advice in check.advice:
        yield from _wrap_text(advice.text, indent)
        for line in advice.lines:
            yield indent + "    " + line


def _wrap_text(text: str, indent: str) -> Iterable[str]:
    return click.wrap_text(text, 118, indent, indent).splitlines()
