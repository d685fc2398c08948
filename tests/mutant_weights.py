"""Checkpoints, stores and packs, changed at random, of whose answers the right ones are known."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from tests.edits import edit_bytes, edit_json, edit_rows, flip, keep_times
from tests.mutants import Mutant, Silent
from workbench.errors import WorkbenchError
from workbench.inference.generation import generate
from workbench.inference.scoring import score
from workbench.inference.states import hidden_states
from workbench.models import load
from workbench.store import Store
from workbench.store.checking import check_store
from workbench.store.export import export_pack
from workbench.store.packs import check_pack, import_pack

SIDES = ("bloom", "mt5")
PROMPTS = ["The cat sat on the mat.", "猫坐在垫子上。"]


def asked(handle):
    """The answers of each kind to a few questions."""
    texts = generate(handle, PROMPTS, max_new_tokens=6, progress=False)
    scores = score(handle, PROMPTS, progress=False)
    states = hidden_states(handle, PROMPTS, progress=False).array
    numbers = [each for answer in scores for each in answer.logprobs if each is not None]
    words = [(answer.tokens, len(answer.logprobs), answer.truncated) for answer in scores]
    return texts, words, states.shape, np.concatenate([numbers, states.ravel()])


def alike(one, two):
    """Whether two are the same answers, up to a float32 step of another batch."""
    return one[:3] == two[:3] and np.allclose(one[3], two[3], rtol=1e-5, atol=1e-4)


class Lab:
    """Both checkpoints at paths of their own, a store that has their answers, and a pack of it."""

    def __init__(self, place: Path, checkpoints) -> None:
        self.place, self.originals, self.count = place, checkpoints, 0
        self.folders = {side: shutil.copytree(checkpoints[side], place / side) for side in SIDES}
        self.store = Store(place / "store.sqlite")
        self.handles = {side: self.load(side, self.store) for side in SIDES}
        self.right = {side: asked(handle) for side, handle in self.handles.items()}
        self.with_log = {name: (place / name).read_bytes() for name in ("store.sqlite", "store.sqlite-wal")}
        self.store.close()
        self.whole = self.store.path.read_bytes()
        export_pack(self.store, place / "answers.pack")
        self.entries = {context: self.store.entries(context) for context in self.store.contexts()}
        self.store.close()

    def load(self, side, store):
        return load(str(self.folders[side]), device="cpu", store=store)

    def new(self, name) -> Path:
        """A folder for one mutant, and its file."""
        shutil.rmtree(self.place / "mutant", ignore_errors=True)
        (self.place / "mutant").mkdir()
        return self.place / "mutant" / name

    def right_from(self, path) -> Iterator[Callable[[], bool]]:
        """Ask a store for the answers; what it lacks is computed by engines that are there."""

        def ask(side):
            with opened(path) as store:
                handle = self.load(side, store)
                vars(handle)["engine"] = self.handles[side].engine  # saves reading the weights again
                if not alike(asked(handle), self.right[side]):
                    raise Silent(f"another answer of {side} from {path.name}")
            return True

        return (lambda side=side: ask(side) for side in SIDES)


@contextmanager
def opened(path):
    store = Store(path)
    try:
        yield store
    finally:
        store._shared = None  # `close` would move a damaged log


class Checkpoints:
    """Folders of weights, configuration and tokenizer."""

    kind, codes = "checkpoint", {2}

    def __init__(self, lab: Lab) -> None:
        self.lab, self.side = lab, "bloom"

    def mutant(self, draw):
        side = self.side = draw.choice(SIDES)
        folder, lab = self.lab.folders[side], self.lab
        shutil.rmtree(folder)
        shutil.copytree(lab.originals[side], folder)
        times = {path.name: path.stat() for path in folder.iterdir()}
        other = lab.originals["mt5" if side == "bloom" else "bloom"]
        what, may_differ = change_checkpoint(draw, folder, other)
        for path in folder.iterdir():
            keep_times(path, times.get(path.name, times["config.json"]))
        path = lab.new("store.sqlite")
        path.write_bytes(lab.whole)
        ways = (lambda: self._answers(side, path), lambda: self._keeps(path))
        return Mutant(f"{side} {what}", may_differ, ways)

    def _answers(self, side, path):
        lab, before = self.lab, self.lab.handles[side].identity
        with opened(path) as store, opened(path.with_name("empty.sqlite")) as empty:
            handle, fresh = lab.load(side, store), lab.load(side, empty)
            found, again = asked(handle), lab.load(side, store)
            if not alike(asked(fresh), found):
                raise Silent("the store's answer is not what its files give")
            if not alike(asked(again), found) or again.tally.misses:
                raise Silent("a second time another answer, or none in the store")
            now = handle.identity
            is_known = (now.weights, now.tokenizer) == (before.weights, before.tokenizer)
            same = alike(found, lab.right[side])
            if is_known and not same:
                raise Silent("another answer under the old digest")
            if not is_known and handle.tally.hits:
                raise Silent("an old answer under a new digest")
        return same

    def _keeps(self, path):
        with opened(path) as store:
            if {context: store.entries(context) for context in self.lab.entries} != self.lab.entries:
                raise Silent("an answer was stored under the old key")
        return True


def change_checkpoint(draw, folder, other):
    """Change one thing in a folder; also whether nobody could tell that from another checkpoint."""
    weights, name = folder / "model.safetensors", draw.choice(sorted(p.name for p in folder.iterdir()))
    header = 8 + int.from_bytes(weights.read_bytes()[:8], "little")
    settings = draw.choice(
        ["config.json", "config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"]
    )

    def retensor(change):
        tensors = load_file(weights)
        one, two = draw.sample(sorted(tensors), 2)
        told = change(tensors, one, two)
        save_file(tensors, weights, {"format": "pt"})
        return f"tensors: {told}"

    def rename(tensors, one, _):
        new = draw.choice([one[:-1], f"{one}x", f"model.{one}", one.replace("0", "1"), one.upper()])
        tensors[new] = tensors.pop(one)
        return f"{one} as {new}"

    def recast(tensors, one, _):
        kind = draw.choice([torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.bool])
        chosen = [one] if draw.random() < 0.5 else list(tensors)
        tensors.update({each: tensors[each].to(kind) for each in chosen})
        return f"{len(chosen)} as {kind}"

    def break_number(tensors, one, _):
        tensors[one].view(-1)[draw.randrange(tensors[one].numel())] = draw.choice(
            [float("nan"), float("inf"), float("-inf")]
        )
        return f"{one} not finite"

    def swap(tensors, one, two):
        tensors[one], tensors[two] = tensors[two].clone(), tensors[one].clone()
        return f"{one} and {two} swapped"

    def drop(tensors, one, _):
        del tensors[one]
        return f"no {one}"

    def reshape(tensors, one, _):
        tensors[one] = tensors[one].flatten()[:-1].clone()
        return f"{one} flat and shorter"

    def copy():
        shutil.copy(other / name, folder / name)
        return f"{name} of the other architecture"

    def remove():
        (folder / name).unlink()
        return f"no {name}"

    def add():
        extra = draw.choice(["pytorch_model.bin", "adapter_config.json", "added_tokens.json", "special_tokens_map.json",
                             "model.safetensors.index.json", "tokenizer.model", "vocab.json", "chat_template.jinja"])  # fmt: skip
        content = draw.choice([b"{}", b"[]", b"", b"\xff\xfe", b'{"a": 1}', b'{"weight_map": {"a": "b"}}'])
        (folder / extra).write_bytes(content)
        return f"{extra} added: {content!r}"

    def point():
        (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
        return f"{name} a git-LFS pointer"

    how, may_differ = draw.choice(
        [
            (lambda: flip(draw, weights, 0, header), False),
            (lambda: flip(draw, weights, header, weights.stat().st_size), True),
            (lambda: flip(draw, weights, header, weights.stat().st_size), True),
            (lambda: edit_bytes(draw, folder / name), True),
            (lambda: edit_bytes(draw, folder / name), True),
            (lambda: retensor(rename), False),
            (lambda: retensor(drop), False),
            (lambda: retensor(recast), True),
            (lambda: retensor(break_number), False),
            (lambda: retensor(swap), True),
            (lambda: retensor(reshape), False),
            (lambda: edit_json(draw, folder / settings), True),
            (lambda: edit_json(draw, folder / settings), True),
            (lambda: edit_json(draw, folder / settings), True),
            (copy, name not in ("config.json", "model.safetensors")),
            (remove, name in ("generation_config.json", "tokenizer_config.json")),
            (add, True),
            (point, False),
        ]
    )
    return how(), may_differ


class Stores:
    """Files of answers, closed or with a log beside them."""

    kind, codes = "store", {2, 7}  # 2: nothing is left that could be exported

    def __init__(self, lab: Lab) -> None:
        self.lab, self.side = lab, "mt5"

    def mutant(self, draw):
        path = self.lab.new("store.sqlite")
        log = path.with_name("store.sqlite-wal")
        path.write_bytes(self.lab.whole)
        how = draw.choice(["bit", "bit", "bytes", "rows", "rows", "rows", "log", "pages"])
        if how == "log":
            path.write_bytes(self.lab.with_log["store.sqlite"])
            log.write_bytes(self.lab.with_log["store.sqlite-wal"])
            how = draw.choice(["gone", "edited", "foreign", "kept"])
            if how == "gone":
                log.unlink()
            elif how == "edited":
                how = edit_bytes(draw, log)
            elif how == "foreign":
                path.write_bytes(self.lab.whole)
            what = f"its log {how}"
        elif how == "pages":
            what = swap_pages(draw, path)
        elif how == "bit":
            what = flip(draw, path, 0, len(self.lab.whole))
        else:
            what = edit_bytes(draw, path) if how == "bytes" else edit_rows(draw, path)
        return Mutant(what, False, tuple(self._uses(path)))

    def _uses(self, path):
        yield from self.lab.right_from(path)
        yield lambda: self._look(path, Store.info)
        yield lambda: self._look(path, Store.identities)
        yield lambda: self._look(path, lambda store: export_pack(store, path.with_name("out.pack")))
        yield lambda: self._look(path, check_store)
        yield lambda: self._look(path, lambda store: check_store(store, repair=True))
        yield from self.lab.right_from(path)

    def _look(self, path, use):
        with opened(path) as store:
            use(store)
        return True


def swap_pages(draw, path, size=4096):
    """Swap two pages of a SQLite file, as a disk that mixes up its blocks would."""
    raw = bytearray(path.read_bytes())
    one, two = (size * place for place in draw.sample(range(len(raw) // size), 2))
    raw[one : one + size], raw[two : two + size] = raw[two : two + size], raw[one : one + size]
    path.write_bytes(raw)
    return f"pages at {one} and {two} swapped"


class Packs:
    """Answers that travel."""

    kind, codes = "pack", {2, 7}

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def mutant(self, draw):
        path = self.lab.new("answers.pack")
        shutil.copy(self.lab.place / "answers.pack", path)
        size = path.stat().st_size
        how = draw.choice([lambda: flip(draw, path, 0, size), lambda: edit_bytes(draw, path), lambda: edit_rows(draw, path),
                           lambda: swap_pages(draw, path)])  # fmt: skip
        what = how()
        ways = (lambda: check_pack(path) is not None, lambda: self._taken(path), *self.lab.right_from(path))
        return Mutant(what, False, ways)

    def _taken(self, path):
        target = path.with_name("target.sqlite")
        with opened(target) as store:
            try:
                import_pack(store, path)
            except WorkbenchError:
                if store.contexts() or store.identities():
                    raise Silent("a refused pack left something in the store") from None
                raise
        return all(ask() for ask in self.lab.right_from(target))
