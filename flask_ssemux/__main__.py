"""``python -m flask_ssemux doctor``: the command that needs neither an application nor Flask."""

from __future__ import annotations

from typing import Any

import click

from .doctor.arguments import HELP, add_arguments
from .doctor.command import FoundApplication, run_doctor
from .doctor.report import SKIPPED, Advice, Check
from .version import __version__

WHY = "`python -m flask_ssemux` loads no application"


@click.group(help="Server-Sent Events. The commands beside an application are those of `flask ssemux`.")
@click.version_option(__version__, message="%(version)s")
def main() -> None:
    """The group of commands."""


@main.command(help=HELP)
@add_arguments
def doctor(**asked: Any) -> None:
    """Run the checks without an application."""
    text = "To check an application too, run `flask ssemux doctor` where `flask` finds it."
    trouble = Check("application", SKIPPED, WHY, (Advice(text),))
    run_doctor(FoundApplication(trouble=trouble, why_no_key="%s, whose SECRET_KEY a probe needs" % WHY), **asked)


if __name__ == "__main__":
    main(prog_name="python -m flask_ssemux")
