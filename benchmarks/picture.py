"""Draws figures: one panel for each question, with one line for each server.

matplotlib is imported only when something is drawn (``pip install 'flask_ssemux[bench]'``).
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, NamedTuple, Sequence

#: The colours of the lines, in the order of names. Colour-blind people can distinguish them (Okabe and Ito).
COLOURS = ("#0072B2", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#999999", "#000000")

#: The number of points below which a line has dots, the columns of the legend, and the panels beside each other.
DOTTED, LEGEND, ACROSS = 20, 4, 3


class Panel(NamedTuple):
    """One question.

    :param title: the title, with the unit.
    :param along: the x-axis's title.
    :param points: the points of each name. A name without points has no line, but its colour is not reused.
    :param place: returns a point's position on the x-axis.
    :param value: returns a point's value.
    :param logarithmic: whether the y-axis is logarithmic, for values of different magnitudes.
    """

    title: str
    along: str
    points: Mapping[str, Sequence[Any]]
    place: Callable[[Any], float]
    value: Callable[[Any], float]
    logarithmic: bool = False


def draw_lines(panels: Sequence[Panel], path: str) -> None:
    """Write the picture. All panels have the same names."""
    pyplot = _load_pyplot()
    down = -(-len(panels) // ACROSS)
    figure, axes = pyplot.subplots(down, ACROSS, figsize=(4.2 * ACROSS, 3.2 * down + 0.6), squeeze=False)
    for axis, panel in zip(axes.flat, panels):
        for colour, (name, points) in zip(COLOURS, panel.points.items()):
            if points:
                across, up = [panel.place(point) for point in points], [panel.value(point) for point in points]
                axis.plot(across, up, label=name, color=colour, marker="." if len(points) < DOTTED else "")
        _format_axis(axis, panel)
    legend = axes[0][0].get_legend_handles_labels()
    figure.legend(*legend, loc="lower center", ncol=LEGEND, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.07 / down * (1 + (len(legend[0]) - 1) // LEGEND), 1, 1))
    figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)
    pyplot.close(figure)


def _format_axis(axis: Any, panel: Panel) -> None:
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


def _load_pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "flask_ssemux", "svg.fonttype": "none", "font.family": "sans-serif"})
    from matplotlib import pyplot

    return pyplot
