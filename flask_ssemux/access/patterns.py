"""Patterns of channels: what a rule is for. Nothing of what rules say.

A client chooses the text that is matched, so matching takes time in proportion to its length, whatever the pattern.
A regular expression would try each way to divide a text among the variables; here there is only one way.
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import BadRequest, InvalidChannel
from ..sse import encode

#: What no variable's value has in it.
_NEVER = ":\r\n\0"


class Pattern:
    """Channels by a pattern such as ``jobs:<job_id>``; a name in brackets matches anything but a colon.

    A variable ends at the first separator that follows it: the text between it and the next variable. The last
    variable takes the rest, up to the text at the pattern's end.

    :raises InvalidChannel: the pattern cannot name a channel that clients may name, or has no single reading.
    """

    _VARIABLE = re.compile(r"<([A-Za-z_][A-Za-z0-9_]*)>")

    def __init__(self, text: str) -> None:
        encode.check_channel(text)
        if not encode.is_named(text):
            raise InvalidChannel(
                "%r: '*' is everyone's and 'user:...' its user's; neither takes a rule of its own" % text
            )
        parts = self._VARIABLE.split(text)
        self.names = parts[1::2]
        if len(set(self.names)) < len(self.names) or "<" in "".join(parts[::2]):
            raise InvalidChannel("%r: variables are written <name>, each once" % text)
        if not all(parts[2:-1:2]):
            raise InvalidChannel(
                "%r: two variables stand side by side, so nobody can tell where the first one ends; write a separator "
                "between them, as in <year>-<month>" % text
            )
        self.text = text
        self._parts = parts
        self._head, self._tail = parts[0], parts[-1]
        #: Each variable but the last, and the separator that follows it.
        self._separated = list(zip(self.names[:-1], parts[2:-1:2]))

    def match(self, channel: str) -> dict[str, str] | None:
        """The variables' values, if this channel is one of the pattern's; never for one that clients may not name."""
        if not channel.startswith(self._head) or not encode.is_named(channel):
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
        return values if all(map(_is_value, values.values())) else None

    def may_meet(self, other: Pattern) -> bool:
        """Whether a channel may be of both patterns; False only if none can."""
        if not self.names or not other.names:
            literal, pattern = (other, self) if self.names else (self, other)
            return pattern.match(literal.text) is not None
        head, longer_head = sorted((self._head, other._head), key=len)
        tail, longer_tail = sorted((self._tail, other._tail), key=len)
        return longer_head.startswith(head) and longer_tail.endswith(tail)

    def fill(self, values: dict[str, Any]) -> str:
        """The channel with these values for its variables.

        :raises BadRequest: a value has a colon, a line break or the separator that follows it in it, is empty, or
            makes the channel too long. The channel would be read as one with other values.
        """
        texts = {name: str(values[name]) for name in self.names}
        channel = "".join(texts[part] if index % 2 else part for index, part in enumerate(self._parts))
        if len(channel) > encode.CHANNEL_LENGTH or self.match(channel) != texts:
            raise BadRequest("%r is not a channel of %r" % (channel, self.text), channel)
        return channel


def _is_value(text: str) -> bool:
    return bool(text) and not any(character in text for character in _NEVER)
