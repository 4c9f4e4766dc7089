"""Cursors and their text: what is read back, and what is not a cursor of ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_ssemux.sse.cursor import Cursor

cursors = st.builds(Cursor, st.from_regex("[0-9a-z]{4,16}", fullmatch=True), st.integers(0, 10**18 - 1))


@given(cursors)
def test_a_cursor_is_read_back(cursor):
    assert Cursor.parse(str(cursor)) == cursor


NOT_OURS = [
    "",
    "-",
    "7",
    "abcd",
    "abcd-",
    "-7",
    "abcd--7",
    "abcd-+7",
    "abcd-07",
    "abcd-7.0",
    "abcd-1e3",
    "abcd-0x7",
    "abcd-1_000",
    "abc-7",
    "ABCD-7",
    "a" * 17 + "-7",
    "abcd-" + "9" * 19,
    "abcd-" + "9" * 3000,
    "x" * 3000,
    " abcd-7",
    "abcd-7 ",
    "abcd -7",
    "abcd-7\n",
    "abcd-7\r\n",
    "\nabcd-7",
    "abcd-7\0",
    "abcd-7\ndata: forged",
    "abcd-7,abcd-8",
    "abcd-٧",
    "abcd-７",
    "äbcd-7",
    "abcd\u20117",
    "%61bcd-7",
    "abcd%2D7",
    "%s%s%s%n",
    "' OR 1=1 --",
    "abcd-7; DROP TABLE events",
    "../../etc/passwd",
    "null",
    "undefined",
    "1700000000000-0-0",
]


@pytest.mark.parametrize("text", NOT_OURS, ids=lambda text: ascii(text)[:30])
def test_text_that_is_not_a_cursor_of_ours(text):
    assert Cursor.parse(text) is None


@given(st.text() | st.from_regex("[0-9a-z]*-?[0-9]*"))
def test_a_cursor_has_one_text_only(text):
    cursor = Cursor.parse(text)
    assert cursor is None or str(cursor) == text
