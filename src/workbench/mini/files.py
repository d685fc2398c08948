"""The data files of the miniature world that are derived from its meanings: `python -m workbench.mini.files`.

Evaluation rows (`tasks/<task>.jsonl`), single sentences with their meaning for probes (`sentences.jsonl`), and the
list of the world's words (`words.txt`). `python -m workbench.mini.files bpe` learns the shared BPE (`bpe.json`) anew,
which makes new checkpoints necessary.
"""

import json
import random
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from workbench.mini.corpus import Dials, document
from workbench.mini.items import TASKS, Mixture, draw_pair, evaluation_rows, sentence_rows
from workbench.mini.tokenizer import train_bpe
from workbench.mini.world import KINDS, NUMBERS, World, read_world
from workbench.records import data_path, write_atomically
from workbench.templates import read_templates

MEANINGS = 80  # evaluation meanings per task
SENTENCES = 420  # single sentences of three kinds
WORD = re.compile(r"[^\W\d_]+|\d", re.UNICODE)


def write_files(
    folder: Path | None = None, meanings: int = MEANINGS, sentences: int = SENTENCES
) -> list[Path]:
    """Write all derived data files into a folder (the shipped one by default); the same again gives the same bytes."""
    folder = folder or data_path("mini")
    world = read_world()
    (folder / "tasks").mkdir(parents=True, exist_ok=True)
    texts = {f"tasks/{task}.jsonl": _lines(evaluation_rows(world, task, meanings)) for task in TASKS}
    texts["sentences.jsonl"] = _lines(sentence_rows(world, sentences))
    texts["words.txt"] = "\n".join(words(world)) + "\n"
    for name, text in texts.items():
        write_atomically(folder / name, text)
    return [folder / name for name in texts]


def write_bpe(folder: Path | None = None, size: int = 1500) -> Path:
    """Learn the shared BPE from a fixed sample of documents and prompts (native wordings too) and write it."""
    world, rng = read_world(), random.Random("bpe")
    wordings = {
        path.stem: read_templates(path) for path in sorted(data_path("mini/templates").glob("*.toml"))
    }
    texts = [" ".join(document(world, Dials(), rng)) for _ in range(30_000)]
    mixture = Mixture(languages=world.languages)
    texts += [" ".join(draw_pair(world, mixture, wordings, rng)) for _ in range(8_000)]
    tokens, merges = train_bpe(texts, size)
    path = (folder or data_path("mini")) / "bpe.json"
    write_atomically(path, json.dumps({"tokens": tokens, "merges": merges}, ensure_ascii=False) + "\n")
    return path


def words(world: World) -> list[str]:
    """All words a member can have met: of the lexicon, the constructions and the wordings; sorted, as written."""
    texts = [word for row in world.words.values() for word in row.values()]
    texts += [
        world.constructions[language][kind] for language in world.languages for kind in ("name", *KINDS)
    ]
    texts += list(NUMBERS)
    for path in sorted(data_path("mini/templates").glob("*.toml")):
        texts += [part for one in read_templates(path) for part in (one.jinja, one.answer_choices or "")]
    plain = [re.sub(r"\{\{.*?\}\}|\{\w+\}", " ", text) for text in texts]
    return sorted({word for text in plain for word in WORD.findall(text)})


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    if sys.argv[1:] == ["bpe"]:
        write_bpe()
    write_files()
