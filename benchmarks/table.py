"""Formats figures as text: medians with their range, and aligned tables. It also prints progress."""

from __future__ import annotations

import sys
from statistics import median
from typing import Sequence


def progress(text: str) -> None:
    """Print what is being done to stderr, because stdout contains only the table."""
    print("... " + text, file=sys.stderr, flush=True)


def spread(values: Sequence[float], shape: str = "%.1f") -> str:
    """Return the median, and the range if there are several values."""
    middle = shape % median(values)
    if len(values) == 1:
        return middle
    return "%s (%s-%s)" % (middle, shape % min(values), shape % max(values))


def percentile(values: Sequence[float], part: float) -> float:
    """Return the value below or at which this part of all values is; 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with aligned columns."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in [head, *rows]]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
