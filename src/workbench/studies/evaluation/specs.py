"""An evaluation as one object: the models, the plan of what they are asked, and the resulting tables."""

import re
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

import workbench
from workbench.errors import BadInput
from workbench.family import Badge, shared_badge
from workbench.models import Model
from workbench.studies.evaluation.against_published import compare_with_published
from workbench.studies.evaluation.measuring import by_language, by_template, compare_all
from workbench.studies.evaluation.planning import EvaluationPlan
from workbench.studies.evaluation.ranking import evaluate
from workbench.studies.evaluation.writing import write

_LIBRARIES = ("torch", "transformers", "tokenizers", "numpy", "pandas")
_NAME_BYTES = 100  # of a folder's name; file systems take 255


@dataclass(frozen=True)
class EvaluationSpec:
    """One or more models, the plan of what they are asked, and how choices are scored and models compared.

    `protocol` is one of `rank`'s, by default that of the published evaluation. Models whose accuracies differ by less than
    `margin` (a fraction) count as equivalent.

    Raises:
        BadInput: no model, the same model twice, models whose results must not share a table, or an invalid margin.
    """

    models: tuple[Model, ...]
    plan: EvaluationPlan
    protocol: str | None = None
    margin: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", tuple(self.models))
        names = self.names
        if not names or len(set(names)) < len(names):
            raise BadInput(
                f"an evaluation got the models {', '.join(names) or 'none'}; give one or more different models"
            )
        if not 0 < self.margin < 1:
            raise BadInput(f"margin={self.margin!r} is not between 0 and 1; give a fraction, such as 0.05")
        _ = self.badge

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models."""
        return tuple(model.name for model in self.models)

    @property
    def badge(self) -> Badge:
        """The badge of the results: SYNTHETIC if the models or the data are of an artificial world, else MEASURED."""
        of_models = shared_badge(self.names)
        return "SYNTHETIC" if self.plan.badge == "SYNTHETIC" else of_models

    @cached_property
    def folder(self) -> Path:
        """Where the results go by default: named after task and models, with a hash of everything that can change a table."""
        everything = (
            self.plan,
            self.protocol,
            self.margin,
            [(m.name, m.fingerprint("generate" if self.plan.is_generated else "score")) for m in self.models],
        )
        name = "-".join(re.sub(r"[^\w.-]+", "_", each) for each in (self.plan.task, *self.names))
        start = name.encode()[: _NAME_BYTES - 9].decode(errors="ignore")
        return Path("runs/evaluate") / f"{start}-{sha256(repr(everything).encode()).hexdigest()[:8]}"

    def run(self, *, batch_tokens: int | None = None, progress: bool = True) -> "Evaluation":
        """Rank all items with every model and make the tables; answers that are in the store are not computed again.

        Raises:
            NotReachable, BadInput, StoreFailed: as `evaluate`; what was scored stays in the store.
        """
        ranked = [
            evaluate(model, self.plan, protocol=self.protocol, batch_tokens=batch_tokens, progress=progress)
            for model in self.models
        ]
        return Evaluation(self, pd.concat(ranked, ignore_index=True))


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation: `items` has one row per model and item, with the score of every choice."""

    spec: EvaluationSpec
    items: pd.DataFrame

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables by name: by_language and by_template; comparison and published where there is something to compare."""
        first, *others = self.spec.names
        found = {
            "by_language": by_language(self.items),
            "by_template": by_template(self.items),
            "comparison": compare_all(self.items, first, others, margin=self.spec.margin),
            "published": compare_with_published(self.items, self.spec.plan),
        }
        return {name: table for name, table in found.items() if len(table)}

    def write(self, folder: Path | str | None = None) -> list[Path]:
        """Write the items, every table as CSV, Markdown and LaTeX, and `evaluation.json` with digests and counts.

        Args:
            folder: By default `spec.folder`, which no other evaluation has. Files of the same names are replaced.

        Raises:
            StoreFailed: a file could not be written.
        """
        plan, spec = self.spec.plan, self.spec
        heading = f"{spec.badge}: {', '.join(spec.names)} on {plan.task} ({plan.source}), templates: {plan.wordings}, {plan.prompt_language}"
        heading += f"\nCONTAMINATED: {plan.contaminated}" if plan.contaminated else ""
        return write(Path(folder or spec.folder), self.items, self.tables, self._facts(), heading)

    def _facts(self) -> dict[str, Any]:
        plan = self.spec.plan
        return {
            "badge": self.spec.badge,
            "task": plan.task,
            "source": plan.source,
            "data_digest": plan.data_digest,
            "contaminated": plan.contaminated,
            "languages": list(plan.languages),
            "prompt_language": plan.prompt_language,
            "wordings": plan.wordings,
            "templates": {f"{t.name} [{t.language}]": t.digest for t in plan.templates},
            "skipped": dict(plan.skipped),
            "shots": plan.shots,
            "protocols": sorted(set(self.items["protocol"])),
            "margin": self.spec.margin,
            "models": {model.name: _about(model) for model in self.spec.models},
            "workbench": workbench.__version__,
            "libraries": {name: version(name) for name in _LIBRARIES},
        }


def _about(model: Model) -> dict[str, Any]:
    audits = {protocol: audit.facts() for protocol, audit in model.audits.items()}
    return {**model.provenance, **model.tally.facts(), "audits": audits}
