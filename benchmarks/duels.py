"""Two contestants on the same orders in turn: seconds, memory, and whether they answer the same."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.checkpoints import checkpoint
from benchmarks.results import ROOT, Result, ratio

COUNTS = {"bloom": {"a": 16, "b": 24, "c": 12}, "mt5": {"a": 64, "c": 64}}
GOALS = {
    ("bloom", "float32"): {"a": 4.0, "b": 1.7, "c": 2.0},
    ("bloom", "bfloat16"): {"a": 6.0, "b": 2.5, "c": 3.0},
    ("mt5", "float32"): {"a": 3.0, "c": 2.0},
}
_SAME = 1e-4  # nats, in float32


class Contestant:
    """A process that takes orders."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._reply()

    def do(self, **order: Any) -> dict[str, Any]:
        """Give an order and wait for the reply."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self._reply()

    def _reply(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(map(str, self.process.args))} ended without a reply")  # type: ignore[arg-type]
        return json.loads(line)


@contextmanager
def contestant(
    name: str, side: str, dtype: str, folder: Path, *, walks: bool = False
) -> Iterator[Contestant]:
    """Start a contestant, and end it afterwards."""
    environment = {
        **os.environ,
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "BENCHMARK_WALKS": "1" if walks else "",
    }
    command = [sys.executable, "-m", "benchmarks.contestants", name, side, dtype, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, cwd=ROOT, env=environment
    ) as process:
        try:
            yield Contestant(process)
        finally:
            process.terminate()


def ranking(side: str, dtype: str, folder: Path, repeats: int, share: float) -> list[Result]:
    """Rank classification beside lm-evaluation-harness, every shape that has a goal.

    Args:
        share: of the usual number of prompts.
    """
    path = checkpoint(side, folder)
    part, goals, results = f"ranking, {side}, {dtype}", GOALS[side, dtype], []
    with ExitStack() as stack:
        theirs, ours = (
            stack.enter_context(contestant(name, side, dtype, path)) for name in ("lm-eval", "workbench")
        )
        peaks: list[tuple[int, int]] = []
        for each in (theirs, ours):
            each.do(do="rank", shape="a", count=2)
        for shape, goal in goals.items():
            order = {"do": "rank", "shape": shape, "count": max(4, int(COUNTS[side][shape] * share))}
            runs = [(theirs.do(**order), ours.do(**order)) for _ in range(repeats)]
            peaks += [(a["peak"], b["peak"]) for a, b in runs]
            difference = _difference(runs[0][0]["answers"], runs[0][1]["answers"])
            name = f"({shape}) against lm-eval, {order['count']} prompts"
            detail = f"largest difference {difference:.1g} nats"
            results.append(ratio(part, name, _seconds(runs, 0), _seconds(runs, 1), goal, detail))
            if dtype == "float32":
                results.append(
                    Result(
                        part,
                        f"({shape}) scores differ by at most",
                        difference,
                        "nats",
                        f"≤ {_SAME}",
                        difference <= _SAME,
                    )
                )
    largest = [max(pair[place] for pair in peaks) for place in (0, 1)]
    value = largest[1] / largest[0]
    detail = f"{largest[0] / 2**30:.2f} and {largest[1] / 2**30:.2f} GiB, weights included"
    goal = ("≤ 0.6 ×", value <= 0.6) if side == "bloom" else ("", None)
    results.append(Result(part, "peak memory against lm-eval", value, "×", *goal, None, detail))
    return results


def generation(folder: Path, repeats: int, share: float) -> list[Result]:
    """Greedy text beside transformers' pipeline, prompts and answers of mixed lengths."""
    path, part = checkpoint("bloom", folder), "generation, bloom, float32"
    with ExitStack() as stack:
        theirs, ours = (
            stack.enter_context(contestant(name, "bloom", "float32", path, walks=True))
            for name in ("pipeline", "workbench")
        )
        for each in (theirs, ours):
            each.do(do="write", count=2)
        count = max(32, int(96 * share))
        runs = [
            (theirs.do(do="write", count=count), ours.do(do="write", count=count)) for _ in range(repeats)
        ]
    first, second = (reply["answers"] for reply in runs[0])
    same = sum(a == b for a, b in zip(first, second, strict=True))
    words = sum(len(text.split()) for text in second) / count
    return [
        ratio(
            part,
            f"against pipeline, {count} prompts",
            _seconds(runs, 0),
            _seconds(runs, 1),
            2.0,
            f"{words:.1f} tokens per answer",
        ),
        Result(part, "texts equal to the pipeline's", same / count, "of all", "= 1", same == count),
    ]


def _seconds(runs: Sequence[tuple[dict[str, Any], dict[str, Any]]], place: int) -> list[float]:
    return [run[place]["seconds"] for run in runs]


def _difference(theirs: list[list[float]], ours: list[list[float]]) -> float:
    pairs = [pair for one, other in zip(theirs, ours, strict=True) for pair in zip(one, other, strict=True)]
    return max(abs(a - b) for a, b in pairs)
