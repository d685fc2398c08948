"""Three charts of tidy tables. Nothing is computed here: intervals, means and differences are columns of the table.

Figures are made without pyplot, so there is no back end to choose and no global state.
"""

import math
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workbench.errors import BadInput
from workbench.figures.style import COLOURS, DASHES, DPI, GREY, INK, MARKERS, style, wrap

_REFERENCE: dict[str, Any] = {"color": GREY, "linestyle": DASHES[1], "linewidth": 1.1, "zorder": 1}


def intervals(
    table: pd.DataFrame,
    *,
    x: str,
    y: str,
    low: str,
    high: str,
    group: str | None = None,
    reference: float | str | None = None,
    reference_label: str = "",
    title: str = "",
    xlabel: str = "",
) -> Figure:
    """Draw one point with its interval per row of `table`, in the table's order, with labels on the left.

    Args:
        table: Tidy; `y` names the line, `group` the colour within a line.
        x: Column of the value.
        y: Column of the labels.
        low: Column of the interval's lower end, in the value's unit (not a distance).
        high: Column of its upper end.
        group: Column whose values are drawn side by side on one line.
        reference: A number (one vertical line) or a column (a tick on each line, e.g. what chance would give).
        reference_label: What the reference is, for the legend.
        title: First line of the picture.
        xlabel: The value and its unit.

    Raises:
        BadInput: a column is missing, or the table is empty.
    """
    _need(table, x, y, low, high, group, reference if isinstance(reference, str) else None)
    lines, groups = _order(table[y]), _order(table[group]) if group else [None]
    step = min(0.8 / len(groups), 0.26)
    with style():
        height = 1.1 + max(0.3, 0.17 * len(groups)) * len(lines)
        figure, axes = _canvas(title, height=height)
        for position, name in enumerate(groups):
            rows = table if group is None else table[table[group] == name]
            offset = (position - (len(groups) - 1) / 2) * step
            places = [lines.index(label) + offset for label in rows[y]]
            colour, marker = COLOURS[position % len(COLOURS)], MARKERS[position % len(MARKERS)]
            axes.hlines(places, rows[low], rows[high], color=colour, linewidth=1.8, alpha=0.55)
            label = None if name is None else str(name)
            axes.plot(rows[x], places, marker, color=colour, markersize=5.5, label=label)
            if isinstance(reference, str):
                shown = reference_label if position == len(groups) - 1 else None  # last in the legend
                axes.plot(
                    rows[reference], places, "|", color=INK, markersize=9, markeredgewidth=1.6, label=shown
                )
        if reference is not None and not isinstance(reference, str):
            axes.axvline(reference, label=reference_label or None, **_REFERENCE)
        axes.set_yticks(range(len(lines)), [wrap(str(label), 44) for label in lines])
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        _finish(figure, axes, xlabel)
    return figure


def heatmap(
    table: pd.DataFrame,
    *,
    rows: str,
    columns: str,
    values: str,
    panel: str | None = None,
    title: str = "",
    fmt: str = ".2f",
    label: str = "",
    low: float | None = None,
    high: float | None = None,
    xlabel: str = "",
    ylabel: str = "",
) -> Figure:
    """Draw a tidy table as a grid of coloured, numbered cells, rows and columns in the table's order.

    Cells missing from the table stay empty. Colours run from `low` to `high`, by default the table's own range. With `panel`, each
    value of that column has a grid of its own, side by side, with the same rows, columns and colours.

    Raises:
        BadInput: a column is missing, the table is empty, or a cell has two values.
    """
    _need(table, rows, columns, values, panel)
    if table.duplicated([rows, columns, *([panel] if panel else [])]).any():
        raise BadInput(
            f"heatmap needs one value per {rows} and {columns}, but some have several; average them first"
        )
    down, across = _order(table[rows]), _order(table[columns])
    names = _order(table[panel]) if panel else [None]
    ends = (table[values].min() if low is None else low, table[values].max() if high is None else high)
    with style():
        width = max(5.6, 3.2 + 0.58 * len(across) * len(names))
        figure, first = _canvas(title, height=1.5 + 0.36 * len(down), width=width, panels=len(names))
        for name, axes in zip(names, figure.axes, strict=True):
            part = table if panel is None else table[table[panel] == name]
            grid = part.pivot(index=rows, columns=columns, values=values).reindex(index=down, columns=across)
            image = _grid(axes, grid, ends, fmt)
            axes.set_title("" if name is None else str(name), fontsize=9.5, loc="left")
            axes.set_xlabel(xlabel)
        first.set_yticks(range(len(down)), [wrap(str(name), 44) for name in down])
        bar = figure.colorbar(
            image, ax=figure.axes, pad=0.02, aspect=max(8, 3 * len(down)), label=label or values
        )
        bar.outline.set_visible(False)
        _finish(figure, first, xlabel, ylabel)
    return figure


def _grid(axes: Axes, grid: pd.DataFrame, ends: tuple[float, float], fmt: str) -> Any:
    """Draw numbered cells, and return the image; the rows' labels are left to the caller."""
    cells = grid.to_numpy(dtype=float)
    image = axes.imshow(cells, cmap="cividis", vmin=ends[0], vmax=ends[1], aspect="auto")
    for i, line in enumerate(cells):
        for j, value in enumerate(line):
            text, ink = ("·", GREY) if math.isnan(value) else (format(value, fmt), _readable(image, value))
            axes.text(j, i, text, ha="center", va="center", color=ink, fontsize=8.5)
    _label_across(axes, [*grid.columns])
    axes.set_yticks([])
    axes.set_xticks([place - 0.5 for place in range(1, len(grid.columns))], minor=True)
    axes.set_yticks([place - 0.5 for place in range(1, len(grid))], minor=True)
    axes.grid(visible=False)
    axes.grid(which="minor", color="white", linewidth=1.4)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    return image


def curves(
    table: pd.DataFrame,
    *,
    x: str,
    y: str,
    group: str | None = None,
    variant: str | None = None,
    low: str | None = None,
    high: str | None = None,
    reference: float | None = None,
    reference_label: str = "",
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    logx: bool = False,
    logy: bool = False,
) -> Figure:
    """Draw one curve per group over `x` (numbers, or labels in the table's order), with its band if given.

    With `variant`, each group has one curve per value of that column, in the group's colour: the first value is a solid line
    with its band, the others are dashed without bands.

    Raises:
        BadInput: a column is missing, the table is empty, or only one end of the band is given.
    """
    if (low is None) != (high is None):
        raise BadInput("curves got one end of a band; give both low= and high=, or neither")
    _need(table, x, y, group, variant, low, high)
    names = None if pd.api.types.is_numeric_dtype(table[x]) else _order(table[x])
    with style():
        figure, axes = _canvas(title, height=3.7)
        for label, part, number, kind in _curve_parts(table, group, variant):
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            places = part[x].to_list() if names is None else [names.index(each) for each in part[x]]
            if low is not None and high is not None and kind == 0:
                axes.fill_between(places, part[low], part[high], color=colour, alpha=0.15, linewidth=0)
            dash = DASHES[(kind if variant else number) % len(DASHES)]
            inside = "white" if variant and kind else colour
            axes.plot(
                places, part[y], color=colour, marker=marker, linestyle=dash, markersize=4.5, label=label,
                markerfacecolor=inside,
            )  # fmt: skip
        if reference is not None:
            axes.axhline(reference, label=reference_label or None, **_REFERENCE)
        if names is not None:
            _label_across(axes, names)
        if logx:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
        if logy:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(visible=False, axis="x")
        _finish(figure, axes, xlabel, ylabel)
    return figure


def _curve_parts(
    table: pd.DataFrame, group: str | None, variant: str | None
) -> Iterator[tuple[str | None, pd.DataFrame, int, int]]:
    """Yield label, rows, number of the group and number of the variant of every curve."""
    for number, name in enumerate(_order(table[group]) if group else [None]):
        rows = table if group is None else table[table[group] == name]
        for kind, value in enumerate(_order(table[variant]) if variant else [None]):
            part = rows if variant is None else rows[rows[variant] == value]
            if len(part):
                words = [str(word) for word in (name, value) if word is not None]
                yield ", ".join(words) or None, part, number, kind


def _canvas(title: str, *, height: float, width: float = 7.2, panels: int = 1) -> tuple[Figure, Axes]:
    """Return an empty figure with axes side by side, and the first of them."""
    figure = Figure(figsize=(width, min(height, 14.0)), dpi=DPI, layout="constrained")
    if title:
        figure.suptitle(wrap(title, int(width * 9.5)), x=0.005, ha="left")
    axes = [figure.add_subplot(1, panels, number + 1) for number in range(panels)]
    return figure, axes[0]


def _finish(figure: Figure, axes: Axes, xlabel: str, ylabel: str = "") -> None:
    """Label the axes and put the legend below, on a canvas that grows with it."""
    axes.set_xlabel(xlabel)
    axes.set_ylabel(wrap(ylabel, int(figure.get_figheight() * 9)))
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        inches = 0.7 + 0.08 * max(len(label) for label in labels)
        columns = max(1, min(len(labels), int(figure.get_figwidth() / inches)))
        figure.set_figheight(figure.get_figheight() + 0.2 * math.ceil(len(labels) / columns))
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def _readable(image: Any, value: float) -> str:
    red, green, blue, _ = image.to_rgba(value)
    return "white" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.5 else INK


def _label_across(axes: Axes, labels: Sequence[Hashable]) -> None:
    texts = [wrap(str(label), 28) for label in labels]
    long = max(map(len, texts)) > 8
    slanted: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if long else {}
    axes.set_xticks(range(len(texts)), texts, **slanted)


def _order(column: "pd.Series[Any]") -> list[Any]:
    return list(dict.fromkeys(column.to_list()))


def _need(table: pd.DataFrame, *columns: str | None) -> None:
    for column in columns:
        if column is not None and column not in table.columns:
            raise BadInput(
                f"no column {column!r} to draw; the table has: {', '.join(map(str, table.columns))}"
            )
    if table.empty:
        raise BadInput("nothing to draw: the table has no rows; check the filter that produced it")
