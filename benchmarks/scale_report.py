"""Formats the results of ``scale`` as tables and a picture. The last result of each store is kept, so that each can be
measured in a run of its own."""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Sequence

from . import document, install, picture
from .scale import RETURN, Arrived, Result, Step
from .stores import STORES
from .table import table


def save_result(result: Result) -> None:
    os.makedirs(install.FOLDER, exist_ok=True)
    with open(_name_file(result.name), "w") as file:
        json.dump(result, file)


def load_results() -> list[Result]:
    """Return the last result of each store that was measured here."""
    return [_load_result(name) for name in STORES if os.path.exists(_name_file(name))]


def make_tables(results: Sequence[Result]) -> str:
    """Return all tables as Markdown."""
    return "\n\n".join(part for result in results for part in _make_parts(result))


def write_document(results: Sequence[Result], folder: str) -> None:
    """Write the figures and the picture of ``scale.md``."""
    draw_picture(results, os.path.join(folder, "scale.svg"))
    shown = "![Memory, CPU time, publishes a second, latency, and seconds until all are back](scale.svg)"
    filled = "\n\n".join([shown, make_tables(results)])
    document.fill_figures(os.path.join(folder, "scale.md"), "scale", filled)


def draw_picture(results: Sequence[Result], path: str) -> None:
    points = {result.name: result.steps for result in results}
    panels = [picture.Panel(title, "workers", points, lambda step: step.workers, value) for title, value in _DRAWN]
    picture.draw_lines(panels, path)


_DRAWN: list[tuple[str, Callable[[Step], float]]] = [
    ("memory of the store, MB", lambda step: step.memory),
    ("publishes a second, to one user each", lambda step: step.burst.rate),
    ("the store's µs of CPU for each of them", lambda step: step.paced.store),
    ("ms until all workers have an event, p99", lambda step: step.common.last),
    ("the store's µs of CPU for such an event", lambda step: step.common.store),
    ("seconds until all workers are back", lambda step: step.back),
]


def _make_parts(result: Result) -> list[str]:
    told = (result.name, result.machine, result.empty, result.filled, result.seconds / 60)
    return [
        "### %s\n\n%s. Empty, the store had %.0f MB; an event in a channel of its own takes %.0f bytes. The run took "
        "%.1f minutes." % told,
        table(_SIZE_HEAD, [_make_size_row(step) for step in result.steps]),
        "Events to one user each, one publisher at a fixed rate, and two with 16 greenlets each as fast as they can:",
        table(_USER_HEAD, [_make_user_row(step) for step in result.steps]),
        "Events to a channel that all workers have, 20 a second, and as fast as possible:",
        table(_COMMON_HEAD, [_make_common_row(step) for step in result.steps]),
    ]


_SIZE_HEAD = ("workers", "users", "subscribed a second", "store MB", "a worker MB", "idle: store, % of a core",
              "all workers, % of a core", "back after a cut, s")  # fmt: skip


def _make_size_row(step: Step) -> list[str]:
    return [
        str(step.workers), f"{step.users:,}", f"{step.subscribed:,.0f}", f"{step.memory:,.0f}", "%.1f" % step.worker,
        "%.1f" % (step.idle_store * 100), "%.1f" % (step.idle_workers * 100),
        "%.1f" % step.back if step.back < float("inf") else "more than %.0f" % RETURN,
    ]  # fmt: skip


_USER_HEAD = ("workers", "p50 ms", "p99 ms", "publish ms", "store: µs CPU an event", "all workers: µs CPU an event",
              "as fast as possible: a second", "store: µs CPU an event", "% of its core", "arrived")  # fmt: skip


def _make_user_row(step: Step) -> list[str]:
    paced, burst = step.paced, step.burst
    return [
        str(step.workers), "%.1f" % paced.middle, "%.1f" % paced.last, "%.2f" % paced.publish, "%.0f" % paced.store,
        "%.0f" % paced.workers, f"{burst.rate:,.0f}", "%.0f" % burst.store,
        "%.0f" % (burst.rate * burst.store / 1e4), _count_arrivals(paced, burst),
    ]  # fmt: skip


_COMMON_HEAD = ("workers", "until all have it: p50 ms", "p99 ms", "store: µs CPU an event", "a worker: µs CPU an event",
                "as fast as possible: a second", "store: µs CPU an event", "a worker", "arrived")  # fmt: skip


def _make_common_row(step: Step) -> list[str]:
    common, burst = step.common, step.common_burst
    return [
        str(step.workers), "%.1f" % common.middle, "%.1f" % common.last, "%.0f" % common.store,
        "%.0f" % (common.workers / step.workers), f"{burst.rate:,.0f}", "%.0f" % burst.store,
        "%.0f" % (burst.workers / step.workers), _count_arrivals(common, burst),
    ]  # fmt: skip


def _count_arrivals(*found: Arrived) -> str:
    came, expected = sum(it.came for it in found), sum(it.expected for it in found)
    return "all" if came == expected else f"{came:,} of {expected:,}"


def _load_result(name: str) -> Result:
    with open(_name_file(name)) as file:
        kept: list[Any] = json.load(file)
    return Result(*kept)._replace(steps=[_load_step(step) for step in Result(*kept).steps])


def _load_step(kept: Any) -> Step:
    return Step(*(Arrived(*value) if isinstance(value, list) else value for value in kept))


def _name_file(name: str) -> str:
    return os.path.join(install.FOLDER, "scale-%s.json" % name)
