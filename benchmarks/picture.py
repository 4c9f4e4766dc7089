"""Figures as pictures: one panel for each question, one line for each contender.

Only drawing; matplotlib is asked for when there is something to draw (``pip install 'flask_ssemux[bench]'``).
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, NamedTuple, Sequence

#: Of lines, in the order of contenders: told apart by the colour-blind too (Okabe and Ito).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")


#: Points of a line that are few enough to be dots; columns of the legend.
DOTTED, LEGEND = 20, 4


class Panel(NamedTuple):
    """One question.

    :param title: with the unit.
    :param value: of a point; None where there is none.
    :param logarithmic: for values that are orders apart.
    """

    title: str
    value: Callable[[Any], float | None]
    logarithmic: bool = False


def lines(
    panels: Sequence[Panel],
    contenders: Mapping[str, Sequence[Any]],
    place: Callable[[Any], float],
    along: str,
    path: str,
) -> None:
    """Write the picture.

    :param contenders: their points, by name.
    :param place: where a point is on the x-axis.
    :param along: the x-axis's title.
    """
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(1, len(panels), figsize=(4.2 * len(panels), 3.6), squeeze=False)
    for axis, panel in zip(axes[0], panels):
        for colour, (name, points) in zip(COLOURS, contenders.items()):
            pairs = [(place(point), panel.value(point)) for point in points]
            known = [(x, y) for x, y in pairs if y is not None]
            axis.plot(*_columns(known), label=name, color=colour, marker="." if len(known) < DOTTED else "")
        _dress(axis, panel, along)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="lower center", ncol=LEGEND, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.07 * (1 + (len(contenders) - 1) // LEGEND), 1, 1))
    figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)
    pyplot.close(figure)


def _columns(pairs: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in pairs], [y for _, y in pairs]


def _dress(axis: Any, panel: Panel, along: str) -> None:
    axis.set_title(panel.title, fontsize=10)
    axis.set_xlabel(along, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.locator_params(axis="x", nbins=4)
    if panel.logarithmic:
        axis.set_yscale("log")
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
