"""Fixtures for pytest: ``pytest_plugins = ["flask_ssemux.pytest_plugin"]`` in a top ``conftest.py``.

Both need a fixture ``app`` of the application's own, as pytest-flask does. What they do is ``testing.py``'s.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Callable, Iterator

import pytest

from . import testing


@pytest.fixture
def ssemux_stream(app: Any) -> Iterator[Callable[..., testing.OpenStream]]:
    """``ssemux_stream("/events", channels=["jobs:42"], user=7)``: an open stream, until the test ends."""
    with ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(testing.stream(app, *args, **options))


@pytest.fixture
def ssemux_clock(app: Any) -> Iterator[testing.Clock]:
    """``ssemux_clock.advance(60)``: the time of the application's streams, which stands still but for this."""
    with testing.frozen(app) as clock:
        yield clock
