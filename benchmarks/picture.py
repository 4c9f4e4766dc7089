"""Figures as pictures: one panel for each question, one line for each contender.

Only drawing; matplotlib is asked for when there is something to draw (``pip install 'flask_ssemux[bench]'``).
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, NamedTuple, Sequence

#: Of lines, in the order of names: told apart by the colour-blind too (Okabe and Ito).
COLOURS = ("#0072B2", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#999999", "#000000")

#: Points of a line that are few enough to be dots; columns of the legend; panels beside each other.
DOTTED, LEGEND, ACROSS = 20, 4, 3


class Panel(NamedTuple):
    """One question.

    :param title: with the unit.
    :param along: the x-axis's title.
    :param points: of each name. Whoever has none has no line, and keeps the colour.
    :param place: where a point is on the x-axis.
    :param value: of a point.
    :param logarithmic: for values that are orders apart.
    """

    title: str
    along: str
    points: Mapping[str, Sequence[Any]]
    place: Callable[[Any], float]
    value: Callable[[Any], float]
    logarithmic: bool = False


def lines(panels: Sequence[Panel], path: str) -> None:
    """Write the picture. All panels have the same names."""
    pyplot = _pyplot()
    down = -(-len(panels) // ACROSS)
    figure, axes = pyplot.subplots(down, ACROSS, figsize=(4.2 * ACROSS, 3.2 * down + 0.6), squeeze=False)
    for axis, panel in zip(axes.flat, panels):
        for colour, (name, points) in zip(COLOURS, panel.points.items()):
            if points:
                across, up = [panel.place(point) for point in points], [panel.value(point) for point in points]
                axis.plot(across, up, label=name, color=colour, marker="." if len(points) < DOTTED else "")
        _dress(axis, panel)
    legend = axes[0][0].get_legend_handles_labels()
    figure.legend(*legend, loc="lower center", ncol=LEGEND, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.07 / down * (1 + (len(legend[0]) - 1) // LEGEND), 1, 1))
    figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)
    pyplot.close(figure)


def _dress(axis: Any, panel: Panel) -> None:
    from matplotlib.ticker import LogLocator

    axis.set_title(panel.title, fontsize=10)
    axis.set_xlabel(panel.along, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.locator_params(axis="x", nbins=4)
    if panel.logarithmic:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.yaxis.set_minor_formatter("")
    else:
        axis.set_ylim(bottom=0)
    axis.yaxis.set_major_formatter("{x:,g}")
    axis.grid(alpha=0.3)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "flask_ssemux", "svg.fonttype": "none", "font.family": "sans-serif"})
    from matplotlib import pyplot

    return pyplot
