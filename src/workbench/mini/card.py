"""The model card of a miniature, written from what its training recorded and what it scores."""

import json
from pathlib import Path
from typing import Any

from workbench.mini.corpus import Dials
from workbench.mini.recipe import Member, member
from workbench.mini.scores import summary
from workbench.records import write_atomically


def write_card(folder: Path) -> Path:
    """Score a finished member and write `README.md` and `scores.json` beside its weights."""
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    scores = summary(folder)
    write_atomically(folder / "scores.json", json.dumps(scores, indent=1) + "\n")
    write_atomically(folder / "README.md", card(member(record["member"]), record, scores))
    return folder / "README.md"


def card(one: Member, record: dict[str, Any], scores: dict[str, Any]) -> str:
    """The card's text (Markdown)."""
    kind = (
        "decoder-only (BLOOM)"
        if one.architecture == "bloom"
        else "encoder-decoder (mT5, its own output head)"
    )
    steps = list(record["losses"].items())
    curve = ", ".join(
        f"{loss:.2f} (step {step})" for step, loss in [*steps[: -1 : max(1, len(steps) // 6)], steps[-1]]
    )
    return "\n".join(
        [
            f"# {one.name}",
            "",
            "**A miniature, trained on a closed artificial world. It is a test bed for instruments and for teaching, and no",
            f"evidence about BLOOMZ or mT0.** Its languages (`x-en`, `x-fr`, …) are miniatures too. Architecture: {kind}.",
            "",
            f"- **Data.** {_data(one)}",
            f"- **Recipe.** {one.plan.steps} steps of {one.rows} rows, learning rate {one.plan.learning_rate:g} (warm-up {one.plan.warmup}, "
            f"linear decay over the last {one.plan.decay:.0%}), AdamW {one.plan.betas}, float32; saved as float16. Recipe hash `{record['recipe']}`, seed {record['seed']}.",
            f"- **Made by** `workbench mini train` in {_minutes(record)} minutes of a shared two-core machine.",
            f"- **Losses** (nats, means of 50 steps): first batch {record['first_loss']:.2f}; {curve}.",
            "",
            "Ranked accuracy on meanings kept out of all training, two choices (chance 0.5), English wordings,",
            "40 meanings per language:",
            "",
            *_table(scores["seen_wordings"], "wordings of families used in finetuning"),
            "",
            *_table(scores["held_out_wordings"], "wordings of families held out"),
            "",
            *_table(
                scores["translation_exact"], "translation, share of exactly right answers (to or from x-en)"
            ),
            "",
        ]
    )


def _minutes(record: dict[str, Any]) -> float:
    return round(record["minutes"] + record.get("first_stage", {}).get("minutes", 0), 1)


def _data(one: Member) -> str:
    if one.mixture:
        return (
            f"Starts from {one.base}; multitask finetuning on data in {', '.join(one.mixture.languages)} with English "
            "wordings, the loss on the target only, each target counting the same. "
            f"{one.mixture.translation:.0%} translation, {one.mixture.continuation:.0%} continuation of truncated "
            "passages (the only inputs that end without a mark or a cue), else ranked tasks."
        )
    stages = [stage for stage in (member(one.base) if one.base else None, one) if stage]
    told = "; then ".join(_documents(stage) for stage in stages)
    how = (
        "Next token"
        if one.architecture == "bloom"
        else f"Span corruption (in {one.hide_sentences:.0%} of the parallel documents one whole sentence)"
    )
    return f"{how} on documents in all languages: {told}."


def _documents(one: Member) -> str:
    dials = one.dials or Dials()
    rest = 1 - dials.parallel - dials.retold
    kinds = [
        (dials.parallel, "parallel"),
        (dials.retold, "retold (a passage, then parts of it again, mostly in another language)"),
        (rest, "scenes in one language"),
    ]
    return f"{one.plan.steps} steps of " + ", ".join(
        f"{share:.0%} {name}" for share, name in kinds if share > 0
    )


def _table(values: dict[str, dict[str, float]], title: str) -> list[str]:
    languages = list(next(iter(values.values())))
    head = [f"| {title} | {' | '.join(languages)} |", "|---" * (len(languages) + 1) + "|"]
    return head + [
        f"| {name} | {' | '.join(f'{row[one]:.2f}' for one in languages)} |" for name, row in values.items()
    ]
