"""How well a member does its tasks: a plain ranking and decoding loop, for its card and for development.

It is independent of `workbench.inference.ranking` on purpose, so that one can be checked against the other. The rules are the
published ones (arXiv 2211.01786): sum of the log-probabilities of the choice's tokens; on the BLOOM side of a space
and the choice, on the mT5 side of the choice and the end token; no special tokens on the input.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch.nn import functional
from tqdm import tqdm
from transformers import AutoTokenizer

from miniatures.architectures import load_float32
from miniatures.questions import HELD_OUT, RANKED
from miniatures.world import PIVOT
from workbench.engines.transformers.loading import quiet
from workbench.prompts import Template
from workbench.tasks import Item, make_items, read_rows, task_templates
from workbench.training import IGNORED, Batch, pairs_batch

ROWS_AT_ONCE = 128


def load_member(folder: Path) -> tuple[Any, Any]:
    """Read a member's model, to compute in float32, and its tokenizer, without loading bars and notices."""
    with quiet():
        return load_float32(folder), AutoTokenizer.from_pretrained(folder)


def choice_scores(
    model: Any, tokenizer: Any, pairs: Sequence[tuple[str, str]], progress: str = ""
) -> list[float]:
    """The log-probability in nats of every (prompt, choice).

    Args:
        progress: what a line of progress calls it, on a terminal; none shows none.
    """
    encoder_decoder = model.config.is_encoder_decoder
    coded = [_coded(tokenizer, prompt, choice, encoder_decoder) for prompt, choice in pairs]
    by_length = sorted(range(len(coded)), key=lambda row: sum(map(len, coded[row])))
    scores = [0.0] * len(coded)
    starts = range(0, len(coded), ROWS_AT_ONCE)
    for start in tqdm(starts, progress, leave=False, unit="batch", disable=None if progress else True):
        rows = by_length[start : start + ROWS_AT_ONCE]
        batch = pairs_batch([coded[row] for row in rows], tokenizer.pad_token_id, encoder_decoder)
        for row, score in zip(rows, _target_scores(model, batch), strict=True):
            scores[row] = score
    return scores


def _target_scores(model: Any, batch: Batch) -> list[float]:
    """The log-probability in nats of each row's target.

    A BLOOM gives logits where a label is scored, and nowhere else: most positions are of the prompt.
    """
    read = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    with torch.inference_mode():
        if model.config.is_encoder_decoder:
            labels = batch.labels
            start_id = torch.full_like(labels[:, :1], model.config.decoder_start_token_id)
            shifted = torch.cat([start_id, labels[:, :-1].clamp(min=0)], dim=1)
            logits = model(**read, decoder_input_ids=shifted).logits[labels != IGNORED]
        else:
            labels = batch.labels[:, 1:]
            logits = model(**read, logits_to_keep=functional.pad(labels != IGNORED, (0, 1))).logits
        rows, places = torch.where(labels != IGNORED)
        losses = functional.cross_entropy(logits.float(), labels[rows, places], reduction="none")
        return (-torch.zeros(len(labels)).index_add_(0, rows, losses)).tolist()


def _coded(tokenizer: Any, prompt: str, choice: str, encoder_decoder: bool) -> tuple[list[int], list[int]]:
    source = tokenizer.encode(prompt, add_special_tokens=False)
    if encoder_decoder:
        return source, [*tokenizer.encode(choice, add_special_tokens=False), tokenizer.eos_token_id]
    return source, tokenizer.encode(" " + choice, add_special_tokens=False)


def ranked(folder: Path, meanings: int | None = None, tasks: Iterable[str] = RANKED) -> pd.DataFrame:
    """Rank the evaluation items of ranked tasks, each row with one wording of every kind.

    The kinds are English wordings of families in the mixtures ("seen") and of families held out ("held_out"), and
    wordings in the row's own language ("native", where there are some); the wordings of a kind take turns over the
    meanings. See `_rank_items` for the columns.
    """
    model, tokenizer = load_member(folder)
    return rank_with(model, tokenizer, meanings, tasks)


def rank_with(
    model: Any, tokenizer: Any, meanings: int | None = None, tasks: Iterable[str] = RANKED
) -> pd.DataFrame:
    """The same of a model that is loaded."""
    items = [found for task in tasks for found in evaluation_items(task, meanings)]
    table = _rank_items(model, tokenizer, [item for _, item in items])
    return table.assign(wordings=[kind for kind, _ in items])


def evaluation_items(task: str, meanings: int | None = None) -> list[tuple[str, Item]]:
    """The items of one task with the kind of their wording: "seen", "held_out" or "native"."""
    templates = task_templates(task)
    items = []
    for row in read_rows(task, limit=meanings):
        for kind, found in _kinds_of_wording(templates, row["language"]).items():
            wording = found[int(row["cluster"].rsplit("-", 1)[1]) % len(found)]
            items.append((kind, make_items([row], [wording])[0]))
    return items


def _kinds_of_wording(templates: Sequence[Template], language: str) -> dict[str, list[Template]]:
    kinds = {
        "seen": [one for one in templates if one.language == PIVOT and not one.held_out],
        "held_out": [one for one in templates if one.language == PIVOT and one.held_out],
        "native": [one for one in templates if one.language == language != PIVOT],
    }
    return {kind: found for kind, found in kinds.items() if found}


def _rank_items(model: Any, tokenizer: Any, items: Sequence[Item]) -> pd.DataFrame:
    """One row per item: task, language, template, cluster, choices (how many), correct (bool), margin (nats)."""
    pairs = [(item.prompt, choice) for item in items for choice in item.choices]
    scores = iter(choice_scores(model, tokenizer, pairs))
    rows = []
    for item in items:
        found = [next(scores) for _ in item.choices]
        best = found.index(max(found))  # of equal scores the first, as in `workbench.inference.ranking`
        gold = found.pop(item.gold or 0)
        rows.append(
            {
                "task": item.task,
                "language": item.language,
                "template": item.template,
                "cluster": item.cluster,
                "choices": len(item.choices),
                "correct": best == (item.gold or 0),
                "margin": gold - max(found),
            }
        )
    return pd.DataFrame(rows)


def translated(folder: Path, meanings: int | None = None, wording: str = "to") -> pd.DataFrame:
    """Translate greedily: one row per text with language, direction ("to" the pivot or "from" it), exact (bool)."""
    model, tokenizer = load_member(folder)
    wordings = [one for one in task_templates("translation") if one.name == wording]
    rows = read_rows("translation", limit=meanings)
    items = make_items(rows, wordings)
    answers = answer(model, tokenizer, [item.prompt for item in items])
    return pd.DataFrame(
        {
            "language": item.language,
            "direction": row["id"].rsplit("-", 1)[1],
            "exact": text == item.target,
            "answer": text,
            "target": item.target,
        }
        for row, item, text in zip(rows, items, answers, strict=True)
    )


def answer(model: Any, tokenizer: Any, prompts: Sequence[str], longest: int = 24) -> list[str]:
    """Greedy answers of at most `longest` tokens."""
    answers: list[str] = []
    for start in range(0, len(prompts), ROWS_AT_ONCE):
        batch = tokenizer(
            list(prompts[start : start + ROWS_AT_ONCE]),
            add_special_tokens=False,
            return_tensors="pt",
            padding=True,
        )
        batch.pop("token_type_ids", None)
        with torch.inference_mode():
            output = model.generate(**batch, max_new_tokens=longest, do_sample=False)
        fresh = output if model.config.is_encoder_decoder else output[:, batch["input_ids"].shape[1] :]
        answers += [text.strip() for text in tokenizer.batch_decode(fresh, skip_special_tokens=True)]
    return answers


def summary(folder: Path, meanings: int | None = None) -> dict[str, Any]:
    """What a card tells: accuracy per task × language for each kind of wording, and exact translations."""
    table = ranked(folder, meanings, (*RANKED, *HELD_OUT))
    parts = {f"{kind}_wordings": table[table["wordings"] == kind] for kind in ("seen", "held_out", "native")}
    wide = {name: _wide(part, "task", "correct") for name, part in parts.items()}
    return {**wide, "translation_exact": _wide(translated(folder, meanings), "direction", "exact")}


def _wide(table: pd.DataFrame, rows: str, values: str) -> dict[str, dict[str, float]]:
    pivot = table.pivot_table(index=rows, columns="language", values=values, sort=False)
    return {
        str(name): {str(key): round(float(value), 3) for key, value in row.items()}
        for name, row in pivot.iterrows()
    }
