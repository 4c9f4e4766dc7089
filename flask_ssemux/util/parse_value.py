"""Parses values of options that are numbers or words, as configuration files and environments have them.

Which options there are is in ``options.py``.
"""

from __future__ import annotations

from typing import Any, Callable

#: Words for "not set", as they are written in environments and old configuration files.
OFF = ("", "off", "none", "false", "no")


def parse_seconds(value: Any) -> float:
    """
    :raises ValueError: the value is no number of seconds.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError
    return float(value)


def parse_whole_number(value: Any) -> int:
    """
    :raises ValueError: the value is no whole number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError
    if isinstance(value, float) and not value.is_integer():
        raise ValueError
    return int(value)


def make_choice_parser(words: tuple[str, ...]) -> Callable[[Any], str]:
    """Return a function that returns a value that is one of these words, and raises ``ValueError`` for any other."""

    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError
        return str(value)

    return parse
