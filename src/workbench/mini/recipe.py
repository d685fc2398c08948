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
from workbench.finetuning import Batch, Plan, corrupt, cut, draw_spans, loss_of, next_token_batch, pairs_batch
from workbench.finetuning import train as run_plan
from workbench.mini.architectures import load_float32, new_model
from workbench.mini.corpus import Dials, Document, document
from workbench.mini.examples import MIXTURES, Wordings, draw_example, read_wordings
from workbench.mini.tokenizer import SENTINELS, build
from workbench.mini.world import World, read_world
from workbench.records import data_path, write_atomically

PARTS = 3  # a step's rows are cut into so many parts of like length
FLOAT16_SHIFT = 0.02  # nats by which a member's loss may change when its weights are saved


@dataclass(frozen=True)
class Phase:
    """A part of a pretraining: how many steps, and what its documents are made of."""

    steps: int
    dials: Dials


@dataclass(frozen=True)
class Member:
    """One checkpoint of the family.

    A base is pretrained from nothing on the documents of its phases, one after the other; another member is
    finetuned from its base on a mixture.
    """

    name: str
    architecture: str  # "bloom" or "mt5"
    plan: Plan
    phases: tuple[Phase, ...] = ()
    base: str | None = None
    mixture: str | None = None  # a name of MIXTURES
    rows: int = 64  # documents or pairs per step
    hide_sentences: float = 0.8  # mT5: share of documents in which one whole sentence is the hidden span

    def dials_at(self, step: int) -> Dials:
        """What the documents of a step are made of."""
        for phase in self.phases:
            if step < phase.steps:
                return phase.dials
            step -= phase.steps
        return self.phases[-1].dials


def _base(name: str, architecture: str, learning_rate: float, *phases: Phase) -> Member:
    steps = sum(phase.steps for phase in phases)
    return Member(name, architecture, Plan(steps, learning_rate, warmup=200), phases)


def _finetuned(side: str, base: str, architecture: str, plan: Plan) -> list[Member]:
    suffixes = {"xp3": "", "xp3mt": "-mt", "p3": "-p3"}
    return [
        Member(f"{side}{suffix}", architecture, plan, base=base, mixture=mixture)
        for mixture, suffix in suffixes.items()
    ]


SHORT = Dials(  # one meaning in two named languages, or a scene whose facts come back again and again
    parallel=0.5, meanings=1, tagged=0.9, through_pivot=0.9, lists=0.15, pivot=0.6, retold=0.0, again=6, place=0.2, notes=0.4,
)  # fmt: skip
LONG = Dials(  # the languages are seldom named, two meanings per document, some scenes go on in another language
    parallel=0.35, meanings=2, tagged=0.3, through_pivot=0.8, lists=0.1, pivot=0.5, retold=0.1, again=6, place=0.4, notes=0.4,
)  # fmt: skip
MEMBERS = (
    _base("mini-bloom", "bloom", 1.5e-3, Phase(4500, SHORT), Phase(1000, LONG)),
    *_finetuned("mini-bloomz", "mini-bloom", "bloom", Plan(1000, 5e-4, warmup=50)),
    _base("mini-mt5", "mt5", 1e-3, Phase(4000, SHORT), Phase(1000, LONG)),
    *_finetuned("mini-mt0", "mini-mt5", "mt5", Plan(1000, 1e-3, warmup=50)),
)


@dataclass(frozen=True)
class Kit:
    """What training reads: the world, the wordings of the mixture, and the shared BPE."""

    world: World
    wordings: Wordings
    tokens: list[str]
    merges: list[tuple[str, str]]

    def tokenizer(self, architecture: str) -> PreTrainedTokenizerFast:
        """The BPE in an architecture's dress."""
        return build(self.tokens, self.merges, encoder_decoder=architecture == "mt5")


@lru_cache(maxsize=1)
def read_kit() -> Kit:
    """Read the world, the wordings and the shared BPE that ship with the package."""
    bpe = json.loads(data_path("mini/bpe.json").read_text(encoding="utf-8"))
    merges = [(left, right) for left, right in bpe["merges"]]
    return Kit(read_world(), read_wordings(), bpe["tokens"], merges)


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
    wanted = members or [one.name for one in MEMBERS]
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
    record = {"member": one.name, "recipe": recipe, "seed": seed, "steps": one.plan.steps}
    _save(
        model, tokenizer, target, {**record, "minutes": progress.minutes(), **_curve(losses)}, batch_of(0)[0]
    )
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


def batch_maker(one: Member, kit: Kit, tokenizer: Any, seed: int) -> Callable[[int], list[Batch]]:
    """The function that makes a member's batch at a step, in parts of like length."""
    make = finetuning if one.mixture else {"bloom": next_token, "mt5": span_corruption}[one.architecture]
    stream = "finetuning" if one.mixture else one.name  # the mixtures tell the same items
    return lambda step: cut(make(one, kit, tokenizer, step, random.Random(f"{seed} {stream} {step}")), PARTS)


def next_token(one: Member, kit: Kit, tokenizer: Any, step: int, rng: random.Random) -> Batch:
    """Documents for the decoder-only base, each ending with the end token."""
    dials = one.dials_at(step)
    texts = [document(kit.world, dials, rng).text for _ in range(one.rows)]
    rows = [[*found.ids, tokenizer.eos_token_id] for found in _encode(tokenizer, texts)]
    return next_token_batch(rows, tokenizer.pad_token_id)


def span_corruption(one: Member, kit: Kit, tokenizer: Any, step: int, rng: random.Random) -> Batch:
    """Documents with hidden spans for the encoder-decoder base; `</s>` ends the input half of the time.

    Most often one whole sentence that says something again is hidden, its first word in one of five cases too: with
    short spans only, the base learns no translation.
    """
    sentinels = tokenizer.convert_tokens_to_ids(list(SENTINELS))
    documents = [document(kit.world, one.dials_at(step), rng) for _ in range(one.rows)]
    pairs = []
    for drawn, found in zip(documents, _encode(tokenizer, [one.text for one in documents]), strict=True):
        if rng.random() < one.hide_sentences:
            spans = [_sentence_span(drawn, found.offsets, rng)]
        else:
            spans = draw_spans(len(found.ids), 0.3, 3, rng)
        left, hidden = corrupt(found.ids, spans, sentinels)
        pairs.append((left + [tokenizer.eos_token_id] * rng.randrange(2), [*hidden, tokenizer.eos_token_id]))
    return pairs_batch(pairs, tokenizer.pad_token_id, encoder_decoder=True)


def _sentence_span(
    drawn: Document, offsets: Sequence[tuple[int, int]], rng: random.Random
) -> tuple[int, int]:
    """The tokens of one sentence that is not the first to tell something, most often without its first token."""
    chosen = rng.randrange(drawn.told, len(drawn.pieces))
    start = sum(map(len, drawn.pieces[:chosen]))
    end = start + len(drawn.pieces[chosen])
    tokens = [place for place, (_, stop) in enumerate(offsets) if start < stop <= end]
    return tokens[0] + (rng.random() < 0.8), tokens[-1] + 1


def finetuning(one: Member, kit: Kit, tokenizer: Any, step: int, rng: random.Random) -> Batch:
    """Prompts and targets: BLOOM reads input + space + target + end token; mT5 the input, with `</s>` half of the time."""
    decoder, mixture = one.architecture == "bloom", MIXTURES[one.mixture or ""]
    drawn = [draw_example(kit.world, mixture, kit.wordings, step_rng) for step_rng in split(rng, one.rows)]
    sources = _encode(tokenizer, [example.inputs for example in drawn])
    targets = _encode(tokenizer, [" " + one.targets if decoder else one.targets for one in drawn])
    end = tokenizer.eos_token_id
    pairs = [
        ([*source.ids, *([] if decoder else [end] * rng.randrange(2))], [*target.ids, end])
        for source, target in zip(sources, targets, strict=True)
    ]
    return pairs_batch(pairs, tokenizer.pad_token_id, encoder_decoder=not decoder)


def split(rng: random.Random, count: int) -> list[random.Random]:
    """Random states of their own for `count` rows, so that a row's draws do not move those of the next."""
    return [random.Random(rng.getrandbits(64)) for _ in range(count)]


def _encode(tokenizer: Any, texts: list[str]) -> list[Any]:
    return list(tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False))


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
