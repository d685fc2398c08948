"""The two figures of an evaluation: accuracy (or another measure) by language, and by template."""

from pathlib import Path
from typing import TYPE_CHECKING

from workbench.figures.charts import heatmap, intervals
from workbench.figures.showing import save

if TYPE_CHECKING:
    from workbench.studies.evaluation import Evaluation


def draw_evaluation(evaluation: "Evaluation", folder: Path | str | None = None) -> list[Path]:
    """Write the figures `by_language` and `by_template` as PNG and PDF, by default where `evaluation.write()` writes.

    Raises:
        StoreFailed: a file could not be written.
    """
    spec, tables = evaluation.spec, evaluation.tables
    measure = spec.plan.measure
    said = measure[0].upper() + measure[1:] if measure != "chrF" else measure
    task, folder = spec.plan.task, Path(folder or spec.folder)
    note = f"{task}, {spec.plan.source}; templates: {spec.plan.wordings}; 95 % intervals over item groups."
    alt = f"{said} on {task} by language for {', '.join(spec.names)}, with chance"
    first = intervals(
        tables["by_language"], x="mean", y="language", low="low", high="high", group="model", reference="chance",
        reference_label="chance", title=f"{task}: {measure}, mean over templates", xlabel=measure,
    )  # fmt: skip
    grid = tables["by_template"].assign(row=lambda table: table["model"] + " · " + table["template"])
    second = heatmap(
        grid,
        rows="row",
        columns="language",
        values=measure,
        low=0,
        high=1,
        title=f"{task}: {measure} by template",
    )
    by_template = f"{said} on {task} by template and language for {', '.join(spec.names)}"
    return [
        *save(first, folder, name="by_language", badge=spec.badge, alt=alt, note=note),
        *save(second, folder, name="by_template", badge=spec.badge, alt=by_template, note=note),
    ]
