"""Patterns of channels, such as ``jobs:<job_id>``: which channels a rule is for. Nothing about what a rule does.

A client chooses the text that is matched, so a match takes time in proportion to the length of that text, whatever the
pattern. A regular expression would try each way to divide a text among the variables; here there is only one way.
"""

from __future__ import annotations

import re
from typing import Any, Sequence

from ..errors import BadRequest, InvalidChannel
from ..sse import encode

#: A variable, with or without a converter, as in Flask's routes.
_VARIABLE = re.compile(r"<(?:([A-Za-z_][A-Za-z0-9_]*):)?([A-Za-z_][A-Za-z0-9_]*)>")

#: The converters. A variable without a converter is a ``string``.
_CONVERTERS = (None, "string", "path")

#: Find a character that the value of a variable may not contain.
_find_forbidden = re.compile("[:\r\n\0]").search
_find_forbidden_in_path = re.compile("[\r\n\0]").search


class Pattern:
    """Channels by a pattern such as ``jobs:<job_id>``.

    A name in angle brackets matches anything but a colon, and ``<path:name>`` anything. A variable ends at the first
    separator that follows it: the text between it and the next variable. The last variable takes the rest, up to the
    text at the pattern's end. Variables that follow a ``<path:name>`` are read from the channel's end instead: each of
    them begins after the last separator that precedes it, and the path takes the rest.

    :raises InvalidChannel: the pattern matches no channel that clients may name, or can be read in several ways.
    """

    def __init__(self, text: str) -> None:
        encode.check_channel(text)
        if not encode.is_named(text):
            raise InvalidChannel(
                "%r: '*' is for everyone and 'user:...' for its user; no rule can be added for them" % text
            )
        texts = _VARIABLE.split(text)
        literals, converters, names = texts[::3], texts[1::3], texts[2::3]
        _check_variables(text, literals, converters, names)
        self.text = text
        self.names = names
        self._literals = literals
        self._head, self._tail = literals[0], literals[-1]
        has_path = "path" in converters
        rest = converters.index("path") if has_path else len(names) - 1
        #: The variable that takes the rest.
        self._rest = names[rest] if names else ""
        #: Each variable before it, and the separator that follows it.
        self._before = list(zip(names[: max(rest, 0)], literals[1:]))
        #: Each variable after it, the last one first, and the separator that precedes it.
        self._after = list(zip(names[rest + 1 :], literals[rest + 1 :]))[::-1]
        self._find_forbidden_in_rest = _find_forbidden_in_path if has_path else _find_forbidden
        #: Whether a channel that clients may not name can begin with this pattern's head.
        self._may_meet_reserved = any(
            reserved.startswith(self._head) for reserved in (encode.EVERYONE, encode.USER_PREFIX, encode.OWN_PREFIX)
        )

    def match(self, channel: str) -> dict[str, str] | None:
        """Return the variables' values if the channel matches; a channel that clients may not name never does."""
        if not channel.startswith(self._head) or (self._may_meet_reserved and not encode.is_named(channel)):
            return None
        if not self.names:
            return {} if channel == self.text else None
        return self._divide_channel(channel) if channel.endswith(self._tail) else None

    def _divide_channel(self, channel: str) -> dict[str, str] | None:
        """Return the variables' values, if the text between the pattern's head and its tail has some."""
        values, at, end = {}, len(self._head), len(channel) - len(self._tail)
        for name, separator in self._before:
            found = channel.find(separator, at, end)
            if found < 0:
                return None
            values[name] = channel[at:found]
            at = found + len(separator)
        for name, separator in self._after:
            found = channel.rfind(separator, at, end)
            if found < 0:
                return None
            values[name] = channel[found + len(separator) : end]
            end = found
        for value in values.values():
            if not value or _find_forbidden(value):
                return None
        rest = values[self._rest] = channel[at:end]
        return None if not rest or self._find_forbidden_in_rest(rest) else values

    def may_overlap(self, other: Pattern) -> bool:
        """Return whether a channel may match both patterns; False only if none can."""
        if not self.names or not other.names:
            literal, pattern = (other, self) if self.names else (self, other)
            return pattern.match(literal.text) is not None
        head, longer_head = sorted((self._head, other._head), key=len)
        tail, longer_tail = sorted((self._tail, other._tail), key=len)
        return longer_head.startswith(head) and longer_tail.endswith(tail)

    def fill(self, values: dict[str, Any]) -> str:
        """Return the channel with these values for the pattern's variables.

        :raises BadRequest: a value is empty, contains a line break, a colon (except in a path) or the separator beside
            it, or makes the channel too long. Such a channel would be read as one with other values.
        """
        texts = {name: str(values[name]) for name in self.names}
        parts = zip(self._literals, [*texts.values(), ""])
        channel = "".join(text for pair in parts for text in pair)
        if len(channel) > encode.CHANNEL_LENGTH or self.match(channel) != texts:
            raise BadRequest("%r is not a channel of %r" % (channel, self.text), channel)
        return channel


def _check_variables(text: str, literals: Sequence[str], converters: Sequence[str], names: Sequence[str]) -> None:
    """
    :raises InvalidChannel: the variables are not written as they should be, or it is unclear where one of them ends.
    """
    for converter in converters:
        if converter not in _CONVERTERS:
            raise InvalidChannel(
                "%r: the converter %r is not known; write <name> for a text without a colon, or <path:name> for any "
                "text, and convert it in your function" % (text, converter)
            )
    if len(set(names)) < len(names) or "<" in "".join(literals):
        raise InvalidChannel("%r: variables are written <name> or <path:name>, each once" % text)
    if not all(literals[1:-1]):
        raise InvalidChannel(
            "%r: two variables stand side by side, so it is unclear where the first one ends; write a separator "
            "between them, as in <year>-<month>" % text
        )
    if list(converters).count("path") > 1:
        raise InvalidChannel(
            "%r: two variables match any text, so it is unclear where the first one ends; only one variable of a "
            "pattern may be a <path:name>" % text
        )
