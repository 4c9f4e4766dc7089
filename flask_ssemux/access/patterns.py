"""Patterns of channels: what a rule is for. Nothing of what rules say."""

from __future__ import annotations

import re
from typing import Any

from .. import wire
from ..errors import BadRequest, InvalidChannel


class Pattern:
    """Channels by a pattern such as ``jobs:<job_id>``; a name in brackets matches anything but a colon.

    :raises InvalidChannel: the pattern cannot name a channel that clients may name.
    """

    _VARIABLE = re.compile(r"<([A-Za-z_][A-Za-z0-9_]*)>")

    def __init__(self, text: str) -> None:
        wire.check_channel(text)
        if not wire.is_named(text):
            raise InvalidChannel(
                "%r: '*' is everyone's and 'user:...' its user's; neither takes a rule of its own" % text
            )
        parts = self._VARIABLE.split(text)
        self.names = parts[1::2]
        if len(set(self.names)) < len(self.names) or "<" in "".join(parts[::2]):
            raise InvalidChannel("%r: variables are written <name>, each once" % text)
        self.text = text
        self._parts = parts
        pieces = ("(?P<%s>[^:\\r\\n\\0]+)" % part if index % 2 else re.escape(part) for index, part in enumerate(parts))
        self._expression = re.compile("".join(pieces))

    def match(self, channel: str) -> dict[str, str] | None:
        """The variables' values, if this channel is one of the pattern's; never for one that clients may not name."""
        found = self._expression.fullmatch(channel) if wire.is_named(channel) else None
        return found.groupdict() if found else None

    def fill(self, values: dict[str, Any]) -> str:
        """The channel with these values for its variables.

        :raises BadRequest: a value has a colon or a line break in it, is empty, or makes it too long.
        """
        parts = [str(values[part]) if index % 2 else part for index, part in enumerate(self._parts)]
        channel = "".join(parts)
        if self.match(channel) is None or len(channel) > wire.CHANNEL_LENGTH:
            raise BadRequest("%r is not a channel of %r" % (channel, self.text), channel)
        return channel
