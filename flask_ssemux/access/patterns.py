"""Patterns of channels, such as ``jobs:<job_id>``: which channels a rule is for. Nothing about what a rule does.

A client chooses the text that is matched, so a match takes time in proportion to the length of that text, whatever the
pattern. A regular expression would try each way to divide a text among the variables; here there is only one way.
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import BadRequest, InvalidChannel
from ..sse import encode

_VARIABLE = re.compile(r"<([A-Za-z_][A-Za-z0-9_]*)>")

#: Finds a character that the value of a variable may not contain.
_find_forbidden = re.compile("[:\r\n\0]").search


class Pattern:
    """Channels by a pattern such as ``jobs:<job_id>``; a name in angle brackets matches anything but a colon.

    A variable ends at the first separator that follows it: the text between it and the next variable. The last
    variable takes the rest, up to the text at the pattern's end.

    :raises InvalidChannel: the pattern matches no channel that clients may name, or can be read in several ways.
    """

    def __init__(self, text: str) -> None:
        encode.check_channel(text)
        if not encode.is_named(text):
            raise InvalidChannel(
                "%r: '*' is for everyone and 'user:...' for its user; no rule can be added for them" % text
            )
        parts = _VARIABLE.split(text)
        self.names = parts[1::2]
        if len(set(self.names)) < len(self.names) or "<" in "".join(parts[::2]):
            raise InvalidChannel("%r: variables are written <name>, each once" % text)
        if not all(parts[2:-1:2]):
            raise InvalidChannel(
                "%r: two variables stand side by side, so it is unclear where the first one ends; write a separator "
                "between them, as in <year>-<month>" % text
            )
        self.text = text
        self._parts = parts
        self._head, self._tail = parts[0], parts[-1]
        #: Each variable but the last, and the separator that follows it.
        self._separated = list(zip(self.names[:-1], parts[2:-1:2]))
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
        values, at = {}, len(self._head)
        for name, separator in self._separated:
            end = channel.find(separator, at)
            if end < 0:
                return None
            values[name] = channel[at:end]
            at = end + len(separator)
        if not channel.endswith(self._tail):
            return None
        values[self.names[-1]] = channel[at : len(channel) - len(self._tail)]
        for value in values.values():
            if not value or _find_forbidden(value):
                return None
        return values

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

        :raises BadRequest: a value is empty, contains a colon, a line break or the separator that follows it, or makes
            the channel too long. Such a channel would be read as one with other values.
        """
        texts = {name: str(values[name]) for name in self.names}
        channel = "".join(texts[part] if index % 2 else part for index, part in enumerate(self._parts))
        if len(channel) > encode.CHANNEL_LENGTH or self.match(channel) != texts:
            raise BadRequest("%r is not a channel of %r" % (channel, self.text), channel)
        return channel
