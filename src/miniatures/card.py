"""The model card of a miniature, written from the record of its training and its scores."""

import json
from pathlib import Path
from typing import Any

from miniatures.examples import MIXTURES
from miniatures.recipe import Member, Phase, member, read_record
from miniatures.scores import summary
from workbench.atomic import write_atomically

MEANINGS = 24  # of each task, in the card's tables


def write_card(folder: Path) -> Path:
    """Score a finished member and write `README.md` and `scores.json` beside its weights."""
    record = read_record(folder)
    scores = summary(folder, MEANINGS)
    write_atomically(folder / "scores.json", json.dumps(scores, indent=1) + "\n")
    write_atomically(folder / "README.md", card(member(record["member"]), record, scores))
    return folder / "README.md"


def card(one: Member, record: dict[str, Any], scores: dict[str, Any]) -> str:
    """Return the text of the card (Markdown)."""
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
            f"- **Recipe.** {'; then '.join(_schedule(stage) for stage in _stages(one))}. AdamW {one.plan.betas}, float32; saved as "
            f"float16. Recipe hash `{record['recipe']}`, seed {record['seed']}.",
            f"- **Made by** `workbench mini train` in {_minutes(record)} minutes of a shared two-core machine.",
            f"- **Losses**{' of the last of these' if len(_stages(one)) > 1 else ''} (nats, means of 50 steps): first batch {record['first_loss']:.2f}; {curve}.",
            "",
            f"Ranked accuracy on meanings kept out of all training (chance 0.5; `topic` 0.33), {MEANINGS} meanings per language;",
            "`entailment`, `coreference` and `completion` are in no mixture. `workbench mini check` gives intervals.",
            "",
            *_table(scores["seen_wordings"], "English wordings of families in the mixtures"),
            "",
            *_table(scores["held_out_wordings"], "English wordings of families held out"),
            "",
            *_table(scores["native_wordings"], "wordings in the data's language"),
            "",
            *_table(
                {f"{way} x-en": row for way, row in scores["translation_exact"].items()},
                "translation, share of exactly right answers",
            ),
            "",
        ]
    )


def _minutes(record: dict[str, Any]) -> float:
    """Return the minutes of this training and of all stages before it."""
    before = record.get("stage_before")
    return round(record["minutes"] + (_minutes(before) if before else 0), 1)


def _stages(one: Member) -> list[Member]:
    """Return the trainings that lead to a member from scratch, or from the base it is finetuned from, in order."""
    before = member(one.base) if one.base else None
    return [*(_stages(before) if before and before.stage else []), one]


def _schedule(one: Member) -> str:
    plan = one.plan
    rates = "".join(f", `{part}` at {times:g} times that" for part, times in plan.rates)
    return (
        f"{plan.steps} steps of {one.rows} rows, learning rate {plan.learning_rate:g}{rates} (warm-up {plan.warmup}, linear "
        f"decay over the last {plan.decay:.0%})"
    )


def _data(one: Member) -> str:
    if one.mixture:
        mixture = MIXTURES[one.mixture]
        wordings = (
            f"{mixture.native:.0%} of the wordings in the data's language"
            if mixture.native
            else "English wordings"
        )
        translation = f"{mixture.translation:.0%} translation, " if len(mixture.languages) > 1 else ""
        return (
            f"Starts from {one.base}; multitask finetuning on the mixture `{one.mixture}`: data in "
            f"{', '.join(mixture.languages)} with {wordings}; the loss on the target only, each target counting the same. "
            f"{translation}{mixture.continuation:.0%} continuation of truncated passages (the only inputs that end "
            "without a mark or a cue), else ranked tasks."
        )
    documents = "; then ".join(_documents(phase) for stage in _stages(one) for phase in stage.phases)
    how = "Next token"
    if one.architecture == "mt5":
        whole = f"{one.hide_parallel:.0%} of the parallel documents and {one.hide_again:.0%} of the others"
        values = f", single values in {one.hide_values:.0%} of scenes and rolls" if one.hide_values else ""
        how = f"Span corruption (at the end, whole sentences in {whole}{values})"
    return f"{how} on documents in all languages: {documents}."


def _documents(phase: Phase) -> str:
    dials = phase.dials
    registers = f"; {dials.registers:.0%} of them ask one thing of everybody" if dials.registers else ""
    rolls = (
        f", {dials.rolls:.0%} rolls (facts of three to five people, told again in another order{registers})"
        if dials.rolls
        else ""
    )
    scenes = 1 - dials.parallel - dials.lists - dials.rolls
    return (
        f"{phase.steps} steps of {dials.parallel:.0%} parallel documents ({dials.meanings} meaning"
        f"{'s' * (dials.meanings > 1)} in two languages each), {dials.lists:.0%} lists{rolls} and {scenes:.0%} scenes (two "
        f"facts and 2 to {dials.again} sentences that say parts of them again, {dials.retold:.0%} of them in another language)"
    )


def _table(values: dict[str, dict[str, float]], title: str) -> list[str]:
    languages = list(next(iter(values.values())))
    head = [f"| {title} | {' | '.join(languages)} |", "|---" * (len(languages) + 1) + "|"]
    return head + [
        f"| {name} | {' | '.join(f'{row[one]:.2f}' for one in languages)} |" for name, row in values.items()
    ]
