"""Figures as text: medians with their range, columns in line, progress beside them."""

from __future__ import annotations

import sys
from statistics import median
from typing import Sequence


def progress(text: str) -> None:
    """What is being done, to stderr: stdout has the table alone."""
    print("... " + text, file=sys.stderr, flush=True)


def spread(values: Sequence[float], shape: str = "%.1f") -> str:
    """The median, and the range if there were several."""
    middle = shape % median(values)
    if len(values) == 1:
        return middle
    return "%s (%s-%s)" % (middle, shape % min(values), shape % max(values))


def percentile(values: Sequence[float], part: float) -> float:
    """The value that this part of all is not above; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns in line, as Markdown."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in [head, *rows]]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
