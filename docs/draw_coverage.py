"""Draw the map of coverage: how often our 95 % intervals contain the truth, and how often those did that they replaced.

`python docs/draw_coverage.py` audits four intervals on 60 organisms each (a minute) and writes `coverage-map.svg`, and
`coverage-map.md`, the table below it, beside this file.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib import pyplot

from workbench import audit, stats
from workbench.figures.style import style
from workbench.stats.organisms import Estimand, Organism, Sample, full_grid

matplotlib.use("Agg")
HERE = Path(__file__).parent
DRAWS = 200
CLUSTERS = (8, 24, 200)
Estimator = Callable[[Sample], Any]
INTERVALS: dict[str, tuple[Estimator, Estimand]] = {
    "accuracy: mean_interval": (lambda s: stats.mean_interval(s.first, s.cluster), "rate"),
    "accuracy: clustered_wilson": (lambda s: stats.clustered_wilson(s.first, s.cluster), "rate"),
    "difference: bootstrap (before)": (
        lambda s: stats.bootstrap(s.second - s.first, s.cluster, draws=200),
        "difference",
    ),
    "difference: paired_difference": (
        lambda s: stats.paired_difference(s.first, s.second, s.cluster),
        "difference",
    ),
}


def grid() -> list[Organism]:
    """Organisms of the full grid with an effect; an accuracy does not depend on it."""
    return [each for each in full_grid() if each.clusters in CLUSTERS and each.effect]


def coverage() -> dict[str, pd.DataFrame]:
    """The cells of every interval."""
    return {
        name: pd.DataFrame(audit(estimator, grid(), estimand=estimand, draws=DRAWS))
        for name, (estimator, estimand) in INTERVALS.items()
    }


def draw(found: dict[str, pd.DataFrame], path: Path) -> None:
    """Draw one panel for each interval: clusters and correlation down, rates across, coverage as a colour and a number."""
    with style():
        figure, axes = pyplot.subplots(1, len(found), figsize=(13, 4.4), sharey=True, layout="constrained")
        for axis, (name, cells) in zip(axes, found.items(), strict=True):
            table = 100 * cells.pivot_table(
                index=["clusters", "correlation"], columns="rate", values="coverage"
            )
            axis.imshow(table, cmap="RdYlBu", vmin=80, vmax=110, aspect="auto")
            for (row, column), share in [*pd.DataFrame(table.to_numpy()).stack().items()]:
                axis.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=8)
            axis.grid(visible=False)
            axis.set_xticks(range(table.shape[1]), [f"{rate:g}" for rate in table.columns])
            axis.set_yticks(range(len(table)), [f"{k} clusters, {r:g}" for k, r in table.index])
            axis.set_title(name, fontsize=9.5)
            axis.set_xlabel("rate of right answers")
        axes[0].set_ylabel("clusters of 5, and the correlation within them")
        figure.savefig(path, metadata={"Date": None})
        pyplot.close(figure)


def summary(found: dict[str, pd.DataFrame]) -> str:
    """Return a Markdown table: the lowest coverage, and how many cells lie below 93 % and above 97 %."""
    lines = [
        "| interval | cells | lowest | below 93 % | 93 to 97 % | above 97 % | mean width |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, cells in found.items():
        share = cells["coverage"]
        parts = (int((share < 0.93).sum()), int(share.between(0.93, 0.97).sum()), int((share > 0.97).sum()))
        counts = " | ".join(map(str, parts))
        lines.append(
            f"| {name} | {len(cells)} | {share.min():.1%} | {counts} | {cells['width'].mean():.3f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    results = coverage()
    draw(results, HERE / "coverage-map.svg")
    (HERE / "coverage-map.md").write_text(summary(results), encoding="utf-8")
