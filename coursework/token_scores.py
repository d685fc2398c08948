"""Write the token scores that assignment 1 uses: those handed out with it, and those its checks draw from.

`python coursework/token_scores.py` asks mini-bloomz and mini-mt0 about items whose choices have several tokens. Each choice is stored as
the model reads it, token by token, always with its end token, whether or not the published rule counts that one; beside it stands
what `rank` makes of it.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench import Item, load, rank
from workbench.inference.scoring import PROTOCOLS, compute_options, token_scores
from workbench.models import Model
from workbench.tasks import read_data

HERE = Path(__file__).parent
HANDED_OUT = HERE / "source" / "1_what_is_a_score" / "token_scores.json"
HIDDEN = HERE / "checks" / "token_scores.json"
MODELS = {"bloom": "mini-bloomz", "mt5": "mini-mt0"}
TASKS = ("where", "completion")
EACH = 12  # items of a side in each of the two files


def items() -> list[Item]:
    """The items of both files: those handed out first, then the hidden ones, task by task."""
    found: list[list[Item]] = []
    for task in TASKS:
        data = read_data(task, "miniature", languages=["x-en", "x-fr"], limit=EACH)
        wording = next(one for one in data.templates if one.language == data.english)
        found.append(data.items([wording]))
    half = EACH // len(TASKS)
    return [one for part in range(2) for each in found for one in each[part * half : (part + 1) * half]]


def scored(side: str, model: Model, asked: Sequence[Item]) -> list[dict[str, Any]]:
    """Return the choices of each item token by token, and the scores and the prediction of `rank`."""
    protocol = PROTOCOLS[f"xmtf-{side}"]
    requests = protocol.requests([(one.prompt, choice) for one in asked for choice in one.choices])
    rule = replace(protocol.rule, score_end=True)
    answers = iter(token_scores(model, requests, rule, compute_options(None, False), False).values)
    table = rank(model, list(asked), progress=False).to_dict("records")
    return [_question(side, one, row, answers) for one, row in zip(asked, table, strict=True)]


def _question(side: str, one: Item, row: dict[Any, Any], answers: Any) -> dict[str, Any]:
    choices = []
    for choice in one.choices:
        answer = next(answers)
        is_end = [place == len(answer.tokens) - 1 for place in range(len(answer.tokens))]
        logprobs = [round(float(each), 6) for each in answer.logprobs]
        choices.append(
            {"choice": choice, "tokens": list(answer.tokens), "logprobs": logprobs, "is_end": is_end}
        )
    scores = [round(float(each), 6) for each in row["scores"]]
    ranked = {
        "scores": scores,
        "prediction": int(row["prediction"]),
        "margin": round(float(row["margin"]), 6),
    }
    return {
        "id": one.id,
        "side": side,
        "prompt": one.prompt,
        "gold": one.gold,
        "choices": choices,
        "rank": ranked,
    }


def both_files() -> dict[Path, list[dict[str, Any]]]:
    """Return the content of the two files."""
    asked = items()
    parts: dict[Path, list[dict[str, Any]]] = {HANDED_OUT: [], HIDDEN: []}
    for side, name in MODELS.items():
        found = scored(side, load(name), asked)
        for path, part in zip(parts, (found[:EACH], found[EACH:]), strict=True):
            parts[path] += part
    return parts


if __name__ == "__main__":
    for target, content in both_files().items():
        target.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
