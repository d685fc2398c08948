"""How well a member does its tasks: a plain ranking and decoding loop, for its card and for development.

It is independent of `workbench.ranking` on purpose, so that one can be checked against the other. The rules are the
published ones (arXiv 2211.01786): sum of the log-probabilities of the choice's tokens; on the BLOOM side of a space
and the choice, on the mT5 side of the choice and the end token; no special tokens on the input.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch.nn import functional
from transformers import AutoTokenizer

from workbench.finetuning import IGNORED, pairs_batch
from workbench.mini.architectures import load_float32
from workbench.mini.items import RANKED
from workbench.tasks import Item, make_items, read_rows, task_templates

ROWS_AT_ONCE = 128


def choice_scores(model: Any, tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """The log-probability in nats of every (prompt, choice)."""
    encoder_decoder = model.config.is_encoder_decoder
    coded = [_coded(tokenizer, prompt, choice, encoder_decoder) for prompt, choice in pairs]
    scores: list[float] = []
    for start in range(0, len(coded), ROWS_AT_ONCE):
        batch = pairs_batch(coded[start : start + ROWS_AT_ONCE], tokenizer.pad_token_id, encoder_decoder)
        with torch.inference_mode():
            if encoder_decoder:
                start_id = torch.full_like(batch.labels[:, :1], model.config.decoder_start_token_id)
                shifted = torch.cat([start_id, batch.labels[:, :-1].clamp(min=0)], dim=1)
                logits = model(
                    input_ids=batch.input_ids, attention_mask=batch.attention_mask, decoder_input_ids=shifted
                ).logits
                labels = batch.labels
            else:
                logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits[:, :-1]
                labels = batch.labels[:, 1:]
        losses = functional.cross_entropy(
            logits.float().transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
        )
        scores += (-losses.sum(dim=1)).tolist()
    return scores


def _coded(tokenizer: Any, prompt: str, choice: str, encoder_decoder: bool) -> tuple[list[int], list[int]]:
    source = tokenizer.encode(prompt, add_special_tokens=False)
    if encoder_decoder:
        return source, [*tokenizer.encode(choice, add_special_tokens=False), tokenizer.eos_token_id]
    return source, tokenizer.encode(" " + choice, add_special_tokens=False)


def ranked(folder: Path, meanings: int | None = None, tasks: Iterable[str] = RANKED) -> pd.DataFrame:
    """Rank all evaluation items of all ranked tasks with the English wordings.

    Returns:
        One row per item: task, language, template, held_out (bool, of the wording), cluster, correct (bool).
    """
    model, tokenizer = load_float32(folder), AutoTokenizer.from_pretrained(folder)
    tables = []
    for task in tasks:
        wordings = [one for one in task_templates(task) if one.language == "x-en"]
        items = make_items(read_rows(task, limit=meanings), wordings)
        table = _rank_items(model, tokenizer, items)
        tables.append(
            table.assign(held_out=table["template"].map({one.name: one.held_out for one in wordings}))
        )
    return pd.concat(tables, ignore_index=True)


def _rank_items(model: Any, tokenizer: Any, items: Sequence[Item]) -> pd.DataFrame:
    pairs = [(item.prompt, choice) for item in items for choice in item.choices]
    scores = iter(choice_scores(model, tokenizer, pairs))
    rows = []
    for item in items:
        found = [next(scores) for _ in item.choices]
        rows.append(
            {
                "task": item.task,
                "language": item.language,
                "template": item.template,
                "cluster": item.cluster,
                "correct": found.index(max(found)) == item.gold,
            }
        )
    return pd.DataFrame(rows)


def translated(folder: Path, meanings: int = 40, wording: str = "to") -> pd.DataFrame:
    """Translate greedily: one row per text with language, direction ("to" the pivot or "from" it), exact (bool)."""
    model, tokenizer = load_float32(folder), AutoTokenizer.from_pretrained(folder)
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


def summary(folder: Path, meanings: int | None = 40) -> dict[str, Any]:
    """What a card tells: accuracy per task × language on seen and on held-out wordings, and exact translations."""
    table = ranked(folder, meanings)
    texts = translated(folder)
    pivot = {}
    for name, part in (
        ("seen_wordings", table[~table["held_out"]]),
        ("held_out_wordings", table[table["held_out"]]),
    ):
        wide = part.pivot_table(index="task", columns="language", values="correct", sort=False)
        pivot[name] = {
            str(task): {str(key): round(float(value), 3) for key, value in row.items()}
            for task, row in wide.iterrows()
        }
    exact = texts.pivot_table(index="direction", columns="language", values="exact", sort=False)
    pivot["translation_exact"] = {
        str(way): {str(key): round(float(value), 3) for key, value in row.items()}
        for way, row in exact.iterrows()
    }
    return pivot
