"""What is measured without an opponent: the store, starting up, growth with size."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.machine import ROOT
from benchmarks.results import Result
from workbench.store import Store, canonical

_CONTEXT = canonical({"kind": "score", "weights": "0" * 40})


def store(count: int = 20_000) -> list[Result]:
    """Answers written in batches of 100, and read back by the thousand."""
    pairs = [_pair(number) for number in range(count)]
    with TemporaryDirectory() as folder:
        kept = Store(Path(folder) / "store.sqlite")
        kept.put(_CONTEXT, pairs[:1], device="cpu")
        written = _seconds(
            lambda: [kept.put(_CONTEXT, pairs[n : n + 100], device="cpu") for n in range(0, count, 100)]
        )
        keys = [question for question, _ in pairs]
        read = _seconds(lambda: [kept.get(_CONTEXT, keys[n : n + 1000]) for n in range(0, count, 1000)])
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


def million(count: int) -> list[Result]:
    """A store of many answers: looking one batch up, beside a small store; size, counting and giving space back."""
    with TemporaryDirectory() as folder:
        small, large = (_filled(Path(folder) / f"{size}.sqlite", size) for size in (count // 100, count))
        for kept, size in ((small, count // 100), (large, count)):
            _look_up(kept, size)  # the file is read
        times = [_look_up(small, count // 100), _look_up(large, count)]
        size = (Path(folder) / f"{count}.sqlite").stat().st_size / count
        counted, vacuumed = _seconds(large.info), _seconds(large.vacuum)
    what = f"a store of {count:,} answers"
    return [
        Result("store", f"{what}: look-up beside one of {count // 100:,}", times[1] / times[0], "× its time"),
        Result("store", f"{what}: size", size, "bytes an answer"),
        Result("store", f"{what}: store info", counted, "s"),
        Result("store", f"{what}: vacuum", vacuumed, "s"),
    ]


def _filled(path: Path, count: int) -> Store:
    kept = Store(path)
    for start in range(0, count, 1000):
        kept.put(_CONTEXT, [_pair(n) for n in range(start, min(start + 1000, count))], device="cpu")
    return kept


def _look_up(kept: Store, count: int) -> float:
    """Seconds for ten thousand answers spread over the store, in batches of 100."""
    keys = [_pair(n * 7919 % count)[0] for n in range(10_000)]
    return _seconds(lambda: [kept.get(_CONTEXT, keys[n : n + 100]) for n in range(0, len(keys), 100)])


def _pair(number: int) -> tuple[str, dict[str, object]]:
    question = canonical({"prompt": f"prompt {number} " * 20, "text": "yes"})
    return question, {"tokens": ["yes"], "logprobs": [-1.5]}


def growth(sizes: tuple[int, ...]) -> list[Result]:
    """Time per item and memory from the first to the last size, on a miniature model so that only the rest counts."""
    runs = [_grow(size) for size in sizes]
    per_item = [run["seconds"] / size for run, size in zip(runs, sizes, strict=True)]
    added = (runs[-1]["peak"] - runs[0]["peak"]) / (sizes[-1] - sizes[0])
    more = (runs[-1]["peak"] - runs[0]["peak"]) / 2**20
    what = f"from {sizes[0]:,} to {sizes[-1]:,} items"
    times = ", ".join(f"{1e3 * each:.2f}" for each in per_item)
    memory = ", ".join(f"{run['peak'] / 2**20:.0f}" for run in runs)
    return [
        Result("growth", f"time per item, {what}", per_item[-1] / per_item[0], "×", detail=f"{times} ms"),
        Result("growth", f"memory per item, {what}", added / 1024, "KiB", detail=f"peaks {memory} MiB"),
        Result("growth", f"memory above that of {sizes[0]} items", more, "MiB", "≤ 600 MiB", more <= 600),
    ]


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
