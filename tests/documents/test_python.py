"""The Python of the pages that no other test reads: it runs as it is printed, page by page."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from flask_ssemux import stream_closed, stream_opened
from tests.documents.census import list_unread
from tests.documents.fragments import Page

UNREAD = list_unread("python")


@pytest.mark.parametrize("document", sorted({found.document for found in UNREAD}))
def test_the_fragments_of_a_page(document, monkeypatch):
    monkeypatch.setenv("SSEMUX_BROKER", "memory:")
    with ExitStack() as stack:
        for signal in (stream_opened, stream_closed):  # a page's receivers would be called in later tests
            stack.callback(signal._clear_state)
        page = Page(stack, monkeypatch)
        for found in UNREAD:
            if found.document == document:
                page.run(found)
