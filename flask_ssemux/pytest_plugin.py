"""Fixtures for pytest: ``pytest_plugins = ["flask_ssemux.pytest_plugin"]`` in a top ``conftest.py``.

Both need a fixture ``app`` of the application, as pytest-flask does. The folder ``testing`` implements them.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Callable, Iterator

import pytest

from . import testing


@pytest.fixture
def ssemux_stream(app: Any) -> Iterator[Callable[..., testing.OpenStream]]:
    """Open streams: ``ssemux_stream("/events", channels=["jobs:42"], user=7)``. They are closed when the test ends."""
    with ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(testing.stream(app, *args, **options))


@pytest.fixture
def ssemux_clock(app: Any) -> Iterator[testing.Clock]:
    """The clock of the application's streams. It stands still; ``ssemux_clock.advance(60)`` moves it."""
    with testing.frozen(app) as clock:
        yield clock
