"""What a check found, and how that is told: to people in lines, to programs in JSON. Nothing is measured here."""

from __future__ import annotations

from typing import Any, Iterable, Iterator, NamedTuple

import click

from ..util.printable import printable

OK, WARN, FAIL, SKIPPED = "ok", "warn", "fail", "skipped"

COLOURS = {OK: "green", WARN: "yellow", FAIL: "red", SKIPPED: "bright_black"}


class Advice(NamedTuple):
    """What to do.

    :param text: a sentence: who does what, and what to change.
    :param lines: of configuration, to the letter.
    """

    text: str
    lines: tuple[str, ...] = ()


class Check(NamedTuple):
    """What one check found.

    :param name: short, the same in every run.
    :param status: ``OK``, ``WARN``, ``FAIL`` or ``SKIPPED`` (it could not be made, and ``said`` says why).
    :param said: what was measured, in words.
    :param advice: what mends it.
    :param measured: the same as ``said``, for programs.
    """

    name: str
    status: str
    said: str
    advice: tuple[Advice, ...] = ()
    measured: dict[str, Any] = {}


class Report(NamedTuple):
    """All checks of one run.

    :param subject: what was looked at.
    :param hop: who answered: the hop that advice speaks of; "" if there is none.
    :param hops: what hops say of themselves; "" if they say nothing.
    :param seconds: how long it took.
    """

    subject: str
    hop: str
    hops: str
    seconds: float
    checks: list[Check]

    @property
    def is_ok(self) -> bool:
        """Whether nothing failed; warnings do not count."""
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

    def lines(self) -> Iterator[str]:
        """For people. The colours are left out by ``click.echo`` where it does not write to a terminal."""
        yield printable(self.subject + (" (%s)" % self.hops if self.hops else ""))
        for check in self.checks:
            yield from _lines(check)
        yield "%s, in %.1f s" % (self.summary(), self.seconds)

    def summary(self) -> str:
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


def _lines(check: Check) -> Iterator[str]:
    status = click.style("%-7s" % check.status, fg=COLOURS[check.status])
    yield "  %s  %-13s %s" % (status, check.name, printable(check.said))
    indent = " " * 25
    for advice in check.advice:
        yield from _wrapped(advice.text, indent)
        for line in advice.lines:
            yield indent + "    " + line


def _wrapped(text: str, indent: str) -> Iterable[str]:
    return click.wrap_text(text, 118, indent, indent).splitlines()
