"""The recipe of the miniature family: what each member is, and the command that trains it.

`train` makes the members that are missing in a folder, bases first; a training that was interrupted goes on from
its last checkpoint to the same result. A member's batch at a step is a pure function of (seed, member, step).
"""

import hashlib
import json
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from workbench.errors import BadInput, UnknownName
from workbench.finetuning import Batch, Plan, corrupt, draw_spans, loss_of, next_token_batch, pairs_batch
from workbench.finetuning import train as run_plan
from workbench.mini.architectures import load_float32, new_model
from workbench.mini.corpus import Dials, document
from workbench.mini.items import Mixture, draw_pair, training_wordings
from workbench.mini.tokenizer import SENTINELS, build
from workbench.mini.world import World, read_world
from workbench.records import data_path, write_atomically
from workbench.templates import Template, read_templates

FLOAT16_SHIFT = 0.02  # nats by which a member's loss may change when its weights are saved


@dataclass(frozen=True)
class Member:
    """One checkpoint, or a stage on the way to one (`stage`: kept only until the next is made).

    It starts from its base, or from nothing. With a mixture it is finetuned, else pretrained on documents.
    """

    name: str
    architecture: str  # "bloom" or "mt5"
    plan: Plan
    base: str | None = None
    dials: Dials | None = None
    mixture: Mixture | None = None
    rows: int = 64  # documents or pairs per step
    hide_sentences: float = 0.8  # mT5: share of parallel documents whose one whole sentence is the span
    stage: bool = False


FIRST = Plan(steps=3600, learning_rate=1e-3, warmup=200)
SECOND = Plan(steps=1200, learning_rate=7e-4, warmup=100)
TUNING = Plan(steps=400, learning_rate=3e-4, warmup=50)
RETOLD = Dials(parallel=0.25, retold=0.5)
MEMBERS = (
    Member("mini-bloom-first", "bloom", FIRST, dials=Dials(), stage=True),
    Member("mini-bloom", "bloom", SECOND, base="mini-bloom-first", dials=RETOLD),
    Member("mini-bloomz", "bloom", TUNING, base="mini-bloom", mixture=Mixture()),
    Member("mini-mt5-first", "mt5", replace(FIRST, steps=5000), dials=Dials(parallel=0.5), stage=True),
    Member("mini-mt5", "mt5", replace(SECOND, learning_rate=1e-3), base="mini-mt5-first", dials=RETOLD),
    Member(
        "mini-mt0", "mt5", replace(TUNING, steps=1200, learning_rate=1e-3), base="mini-mt5", mixture=Mixture()
    ),
)


@dataclass(frozen=True)
class Kit:
    """What training reads: the world, the wordings of the mixture, and the shared BPE."""

    world: World
    wordings: dict[str, list[Template]]
    tokens: list[str]
    merges: list[tuple[str, str]]

    def tokenizer(self, architecture: str) -> PreTrainedTokenizerFast:
        """The BPE in an architecture's dress."""
        return build(self.tokens, self.merges, encoder_decoder=architecture == "mt5")


@lru_cache(maxsize=1)
def read_kit() -> Kit:
    """Read the world, the wordings and the shared BPE that ship with the package."""
    templates = {
        path.stem: read_templates(path) for path in sorted(data_path("mini/templates").glob("*.toml"))
    }
    bpe = json.loads(data_path("mini/bpe.json").read_text(encoding="utf-8"))
    merges = [(left, right) for left, right in bpe["merges"]]
    return Kit(read_world(), training_wordings(templates), bpe["tokens"], merges)


def member(name: str) -> Member:
    """Find a member by name."""
    found = {one.name: one for one in MEMBERS}
    if name not in found:
        raise UnknownName(f"the miniature family has no recipe for {name!r}; it has {', '.join(found)}")
    return found[name]


def train(
    members: Sequence[str] | None = None,
    folder: Path | None = None,
    seed: int = 0,
    quick: bool = False,
    show: bool = True,
) -> list[Path]:
    """Train the members that are not finished in `folder`, bases first; give their folders.

    Args:
        members: names; all by default. The base of a finetuned member is trained too when it is missing.
        folder: where the checkpoints go; `data/mini/models` by default.
        seed: of weights and data.
        quick: a smoke version of a few steps, for tests; refused in the shipped data.
        show: progress bars.

    Raises:
        UnknownName: a member that does not exist.
        BadInput: a quick training into the shipped data, or a checkpoint of another recipe in the way.
    """
    shipped = data_path("mini/models")
    folder = folder or shipped
    if quick and folder.resolve().is_relative_to(data_path().resolve()):
        raise BadInput(f"a quick training does not write into {folder}; give another folder")
    wanted = members or [one.name for one in MEMBERS if not one.stage]
    return [_train_with_bases(member(name), folder, seed, quick, show) for name in wanted]


def _train_with_bases(one: Member, folder: Path, seed: int, quick: bool, show: bool) -> Path:
    """Train a member; what it starts from first, when that is missing too."""
    target = folder / one.name
    if (target / "model.safetensors").exists():
        return target
    base = member(one.base) if one.base else None
    if base:
        _train_with_bases(base, folder, seed, quick, show)
    train_member(shrink(one) if quick else one, folder, seed, show)
    if base and base.stage:
        shutil.rmtree(folder / base.name)
    return target


def shrink(one: Member) -> Member:
    """The smoke version of a member: a few steps of a few rows."""
    return replace(one, rows=8, plan=replace(one.plan, steps=4, warmup=1))


def recipe_hash(one: Member, seed: int) -> str:
    """A hash of everything that decides a member's weights: its recipe, its base's, the seed and the data files."""
    digest = hashlib.sha256(json.dumps([asdict(one), seed], sort_keys=True).encode())
    files = [data_path(f"mini/{name}") for name in ("lexicon.csv", "constructions.toml", "bpe.json")]
    for path in [*files, *sorted(data_path("mini/templates").glob("*.toml"))]:
        digest.update(path.read_bytes())
    if one.base:
        digest.update(recipe_hash(member(one.base), seed).encode())
    return digest.hexdigest()[:16]


def train_member(one: Member, folder: Path, seed: int, show: bool = True) -> Path:
    """Train one member into `folder/<name>`; its base must be there."""
    target, work = folder / one.name, folder / f".training-{one.name}"
    recipe = recipe_hash(one, seed)
    torch.manual_seed(seed)
    if one.base:
        model, tokenizer = load_float32(folder / one.base), AutoTokenizer.from_pretrained(folder / one.base)
    else:
        tokenizer = read_kit().tokenizer(one.architecture)
        model = new_model(one.architecture, len(tokenizer))
    batch_of, progress = batch_maker(one, read_kit(), tokenizer, seed), Progress(one, show)
    losses = run_plan(model, batch_of, one.plan, work, report=progress.step)
    record: dict[str, Any] = {"member": one.name, "recipe": recipe, "seed": seed, "steps": one.plan.steps}
    if one.base and member(one.base).stage:
        record["first_stage"] = json.loads((folder / one.base / "training.json").read_text(encoding="utf-8"))
    _save(model, tokenizer, target, {**record, "minutes": progress.minutes(), **_curve(losses)}, batch_of(0))
    shutil.rmtree(work)
    return target


class Progress:
    """A bar, and the minutes a whole training takes, also when only its end was done in this process."""

    def __init__(self, one: Member, show: bool) -> None:
        self.steps, self.done, self.started = one.plan.steps, 0, time.monotonic()
        self.bar = tqdm(total=one.plan.steps, desc=one.name, disable=not show, mininterval=10)

    def step(self, step: int, loss: float) -> None:
        """Tell that a step is done."""
        self.done += 1
        self.bar.update(step + 1 - self.bar.n)
        if step % 50 == 0:
            self.bar.set_postfix(loss=f"{loss:.3f}", refresh=False)

    def minutes(self) -> float:
        """Minutes for all steps, at the pace of those done here."""
        self.bar.close()
        return round((time.monotonic() - self.started) / 60 * self.steps / max(1, self.done), 1)


def batch_maker(one: Member, kit: Kit, tokenizer: Any, seed: int) -> Callable[[int], Batch]:
    """The function that makes a member's batch at a step."""
    stream = one.name.removesuffix("-first")
    make = (
        finetuning_batch if one.mixture else {"bloom": next_token, "mt5": span_corruption}[one.architecture]
    )
    return lambda step: make(one, kit, tokenizer, random.Random(f"{seed} {stream} {step}"))


def next_token(one: Member, kit: Kit, tokenizer: Any, rng: random.Random) -> Batch:
    """Documents for the decoder-only base, each ending with the end token."""
    texts = [" ".join(document(kit.world, one.dials or Dials(), rng)) for _ in range(one.rows)]
    return next_token_batch(
        [[*ids, tokenizer.eos_token_id] for ids in _encode(tokenizer, texts)], tokenizer.pad_token_id
    )


def span_corruption(one: Member, kit: Kit, tokenizer: Any, rng: random.Random) -> Batch:
    """Documents with hidden spans for the encoder-decoder base; `</s>` ends the input half of the time.

    Of documents with four sentences (all parallel ones, some scenes) four in five hide one whole sentence but its
    first word, and so do those retold (three sentences, then four) among their last four: with short spans only, the
    base learns no translation.
    """
    sentinels = tokenizer.convert_tokens_to_ids(list(SENTINELS))
    pairs = []
    for _ in range(one.rows):
        sentences = document(kit.world, one.dials or Dials(), rng)
        ids = _encode(tokenizer, sentences)
        row = [token for part in ids for token in part]
        if len(sentences) in (4, 7) and rng.random() < one.hide_sentences:
            chosen = len(sentences) - 4 + rng.randrange(4)
            start = sum(map(len, ids[:chosen]))
            spans = [(start + 1, start + len(ids[chosen]))]
        else:
            spans = draw_spans(len(row), 0.3, 3, rng)
        left, hidden = corrupt(row, spans, sentinels)
        pairs.append((left + [tokenizer.eos_token_id] * rng.randrange(2), [*hidden, tokenizer.eos_token_id]))
    return pairs_batch(pairs, tokenizer.pad_token_id, encoder_decoder=True)


def finetuning_batch(one: Member, kit: Kit, tokenizer: Any, rng: random.Random) -> Batch:
    """Prompts and targets: BLOOM reads input + space + target + end token; mT5 the input, with `</s>` half of the time."""
    decoder = one.architecture == "bloom"
    drawn = [draw_pair(kit.world, one.mixture or Mixture(), kit.wordings, rng) for _ in range(one.rows)]
    sources = _encode(tokenizer, [source for source, _ in drawn])
    targets = _encode(tokenizer, [" " + target if decoder else target for _, target in drawn])
    end = tokenizer.eos_token_id
    ends = [[] if decoder else [end] * rng.randrange(2) for _ in drawn]
    pairs = [
        ([*source, *more], [*target, end])
        for source, more, target in zip(sources, ends, targets, strict=True)
    ]
    return pairs_batch(pairs, tokenizer.pad_token_id, encoder_decoder=not decoder)


def _encode(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    return [found.ids for found in tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False)]


def _curve(losses: list[float]) -> dict[str, Any]:
    means = {
        str(step): sum(losses[step : step + 50]) / len(losses[step : step + 50])
        for step in range(0, len(losses), 50)
    }
    return {
        "first_loss": round(losses[0], 4),
        "losses": {step: round(mean, 4) for step, mean in means.items()},
    }


def _save(model: Any, tokenizer: Any, target: Path, record: dict[str, Any], batch: Batch) -> None:
    """Write the checkpoint in float16 under another name, read it again, and rename it when it is whole."""
    aside = target.with_name(f".{target.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    transformers_logging.disable_progress_bar()
    with torch.inference_mode():
        exact = loss_of(model, batch).item()
        model.half().save_pretrained(aside)
        shift = abs(loss_of(load_float32(aside), batch).item() - exact)
    if not shift < FLOAT16_SHIFT:
        raise BadInput(
            f"{target.name} loses {shift:.3f} nats in float16, at most {FLOAT16_SHIFT} is allowed; train it anew"
        )
    (aside / "model.safetensors").chmod(0o644)
    tokenizer.save_pretrained(aside)
    write_atomically(
        aside / "training.json", json.dumps({**record, "float16_shift": round(shift, 6)}, indent=1) + "\n"
    )
    aside.rename(target)
