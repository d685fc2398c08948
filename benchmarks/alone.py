"""What is measured without an opponent: the store, starting up, the distance to the machine's floor, growth with size."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.checkpoints import checkpoint
from benchmarks.duels import COUNTS, contestant
from benchmarks.questions import questions
from benchmarks.results import ROOT, Result
from workbench.store import Store, canonical

_LAYERS, _WIDTH, _VOCABULARY = 24, 1024, 250_880


def store(count: int = 20_000) -> list[Result]:
    """Answers written in batches of 100, and read back by the thousand."""
    context = canonical({"kind": "score", "weights": "0" * 40})
    pairs = [
        (canonical({"prompt": f"prompt {n} " * 20, "text": "yes"}), {"tokens": ["yes"], "logprobs": [-1.5]})
        for n in range(count)
    ]
    with TemporaryDirectory() as folder:
        kept = Store(Path(folder) / "store.sqlite")
        kept.put(context, pairs[:1], device="cpu")
        written = _seconds(
            lambda: [kept.put(context, pairs[n : n + 100], device="cpu") for n in range(0, count, 100)]
        )
        keys = [question for question, _ in pairs]
        read = _seconds(lambda: [kept.get(context, keys[n : n + 1000]) for n in range(0, count, 1000)])
    return [
        Result(
            "store",
            "answers written, batches of 100",
            count / written,
            "/s",
            "≥ 20,000 /s",
            count / written >= 20_000,
        ),
        Result("store", "answers read", count / read, "/s", "≥ 50,000 /s", count / read >= 50_000),
    ]


def starting(repeats: int = 7) -> list[Result]:
    """Seconds of `import workbench` beyond a bare interpreter, and of `workbench --help`."""
    bare = _median(["-c", "pass"], repeats)
    found = _median(["-c", "import workbench"], repeats) - bare
    help_ = _median(["-m", "workbench.cli", "--help"], repeats)
    return [
        Result("starting", "import workbench", found, "s", "≤ 0.15 s", found <= 0.15),
        Result("starting", "workbench --help", help_, "s", "≤ 0.5 s", help_ <= 0.5),
    ]


def floor(folder: Path, dtype: str, share: float) -> list[Result]:
    """How much of the time the operations need at the rate of one large multiplication, per shape, BLOOM side."""
    rate = max(
        _rate(torch.float32), _rate(getattr(torch, dtype))
    )  # what is kept in one may be computed in the other
    results = []
    with contestant("workbench", "bloom", dtype, checkpoint("bloom", folder)) as ours:
        ours.do(do="rank", shape="a", count=2)
        for shape, usual in COUNTS["bloom"].items():
            count = max(4, int(usual * share))
            needed = sum(_operations(shape, count)) / rate
            taken = ours.do(do="rank", shape=shape, count=count)["seconds"]
            detail = f"{needed:.2f} s of {taken:.2f} s at {rate / 1e9:.0f} GFLOP/s"
            results.append(
                Result("floor", f"({shape}) {dtype}", needed / taken, "of the rate", detail=detail)
            )
    return results


def growth(sizes: tuple[int, ...]) -> list[Result]:
    """Time per item and memory from the first to the last size, on a miniature model so that only the rest counts."""
    runs = [_grow(size) for size in sizes]
    per_item = [run["seconds"] / size for run, size in zip(runs, sizes, strict=True)]
    added = (runs[-1]["peak"] - runs[0]["peak"]) / (sizes[-1] - sizes[0])
    what = f"from {sizes[0]:,} to {sizes[-1]:,} items"
    times = ", ".join(f"{1e3 * each:.2f}" for each in per_item)
    memory = ", ".join(f"{run['peak'] / 2**20:.0f}" for run in runs)
    return [
        Result("growth", f"time per item, {what}", per_item[-1] / per_item[0], "×", detail=f"{times} ms"),
        Result("growth", f"memory per item, {what}", added / 1024, "KiB", detail=f"peaks {memory} MiB"),
    ]


def _operations(shape: str, count: int) -> tuple[float, float, float]:
    """Multiplications and additions of blocks, attention and head, for what must be computed once."""
    blocks = attention = head = 0.0
    for question in questions(shape, count):
        texts = [choice.split() for choice in question.choices]
        prompt, more = len(question.prompt.split()), sum(len(text) - 1 for text in texts)
        blocks += (prompt + more) * 24 * _LAYERS * _WIDTH**2
        pairs = prompt * (prompt + 1) / 2 + sum(sum(range(prompt + 1, prompt + len(text))) for text in texts)
        attention += pairs * 4 * _LAYERS * _WIDTH
        head += (1 + more) * 2 * _WIDTH * _VOCABULARY
    return blocks, attention, head


def _rate(dtype: torch.dtype) -> float:
    """Operations per second of the multiplication that the blocks spend most time in."""
    left, right = torch.randn(1024, _WIDTH, dtype=dtype), torch.randn(4 * _WIDTH, _WIDTH, dtype=dtype)
    times = [_seconds(lambda: torch.nn.functional.linear(left, right)) for _ in range(20)]
    return 2 * left.numel() * 4 * _WIDTH / min(times)


def _grow(size: int) -> dict[str, float]:
    code = f"import benchmarks.alone as alone; alone.rank_miniature({size})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return json.loads(done.stdout.splitlines()[-1])


def rank_miniature(size: int) -> None:
    """Rank as many items with a shipped miniature, and print seconds and peak memory."""
    from benchmarks.contestants import peak
    from workbench import Item, load, rank

    with TemporaryDirectory() as folder:
        model = load("mini-bloomz", device="cpu", store=Store(Path(folder) / "store.sqlite"))
        choices = ("Yes", "No", "Maybe so")
        items = [
            Item(str(n), f"Anna has {n} apples. Tom has {n % 7} apples. Does Anna have apples?", choices)
            for n in range(size)
        ]
        rank(model, items[:2], progress=False)
        seconds = _seconds(lambda: rank(model, items, progress=False))
    print(json.dumps({"seconds": seconds, "peak": peak()}))


def _median(arguments: list[str], repeats: int) -> float:
    command = [sys.executable, *arguments]
    return statistics.median(
        _seconds(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(repeats)
    )


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
