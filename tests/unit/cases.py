"""One table of events and their bytes, for the tests of encoders and of decoders.

It imports no code under test.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Case(NamedTuple):
    """An event, its frame, and the event that a client dispatches."""

    title: str
    event: str | None
    data: Any
    frame: bytes
    name: str
    text: str


CASES = [
    Case("text", None, "hello", b"data: hello\n\n", "message", "hello"),
    Case("name", "progress", "7", b"event: progress\ndata: 7\n\n", "progress", "7"),
    Case("empty", None, "", b"data: \n\n", "message", ""),
    Case("empty-named", "done", "", b"event: done\ndata: \n\n", "done", ""),
    Case("lf", None, "a\nb", b"data: a\ndata: b\n\n", "message", "a\nb"),
    Case("cr", None, "a\rb", b"data: a\ndata: b\n\n", "message", "a\nb"),
    Case("crlf", None, "a\r\nb", b"data: a\ndata: b\n\n", "message", "a\nb"),
    Case("lfcr", None, "a\n\rb", b"data: a\ndata: \ndata: b\n\n", "message", "a\n\nb"),
    Case("last-line-end", None, "a\n", b"data: a\ndata: \n\n", "message", "a\n"),
    Case("only-line-ends", None, "\n\n", b"data: \ndata: \ndata: \n\n", "message", "\n\n"),
    Case("one-space", None, " a", b"data:  a\n\n", "message", " a"),
    Case("only-space", None, " ", b"data:  \n\n", "message", " "),
    Case("trailing-space", None, "a ", b"data: a \n\n", "message", "a "),
    Case("colon", None, ": a: b", b"data: : a: b\n\n", "message", ": a: b"),
    Case(
        "looks-like-fields", None, "id: 9\nevent: x", b"data: id: 9\ndata: event: x\n\n", "message", "id: 9\nevent: x"
    ),
    Case("looks-like-a-frame", None, "a\n\ndata: b", b"data: a\ndata: \ndata: data: b\n\n", "message", "a\n\ndata: b"),
    Case("name-with-colon", "a:b", "x", b"event: a:b\ndata: x\n\n", "a:b", "x"),
    Case("name-with-spaces", " a b ", "x", b"event:  a b \ndata: x\n\n", " a b ", "x"),
    Case("name-message", "message", "x", b"event: message\ndata: x\n\n", "message", "x"),
    Case("utf-8", "größe", "日本 🎉", "event: größe\ndata: 日本 🎉\n\n".encode(), "größe", "日本 🎉"),
    Case("bom", None, "\ufeffa", b"data: \xef\xbb\xbfa\n\n", "message", "\ufeffa"),
    Case("nul", None, "a\0b", b"data: a\0b\n\n", "message", "a\0b"),
    Case("object", "p", {"done": 7, "of": 9}, b'event: p\ndata: {"done":7,"of":9}\n\n', "p", '{"done":7,"of":9}'),
    Case("list", None, [1, "ä", None], 'data: [1,"ä",null]\n\n'.encode(), "message", '[1,"ä",null]'),
    Case("json-line-end", None, ["a\nb"], b'data: ["a\\nb"]\n\n', "message", '["a\\nb"]'),
    Case("number", None, 1.5, b"data: 1.5\n\n", "message", "1.5"),
    Case("true", None, True, b"data: true\n\n", "message", "true"),
    Case("null", None, None, b"data: null\n\n", "message", "null"),
]

#: Characters that end a line for ``str.splitlines``, but not in the standard.
NO_LINE_ENDS = ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"]
