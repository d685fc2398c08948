"""Contestants on the same orders in turn: seconds beside the floor, memory, and whether they answer the same."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.checkpoints import checkpoint
from benchmarks.floor import by_lm_eval, operations
from benchmarks.machine import ROOT, kind, rate
from benchmarks.results import Comparison, Finding, Result, ratio

COUNTS = {"bloom": {"a": 16, "b": 24, "c": 12}, "mt5": {"a": 64, "b": 64, "c": 64}}
GPU_COUNTS = {"a": 512, "b": 512, "c": 256}
PEERS = {
    "float32": ("lm-eval", "CTranslate2", "CTranslate2 int8"),
    "bfloat16": ("lm-eval",),  # CTranslate2 has bfloat16 for GPUs
}
_AVX512 = {
    ("bloom", "float32"): {"a": 6.5, "b": 2.2, "c": 3.4},
    ("bloom", "bfloat16"): {"a": 9.0, "b": 3.5, "c": 5.0},
    ("mt5", "float32"): {"a": 4.0, "c": 2.5},
}
_AVX2 = {("bloom", "float32"): {"a": 5.0, "b": 1.8, "c": 2.8}, ("mt5", "float32"): {"a": 3.0, "c": 1.8}}
_SHARES = {"float32": 0.75, "bfloat16": 0.65}  # of the floor in our time
_WRITING = {"transformers": 2.5, "CTranslate2": 1.0}
_SAME = 1e-4  # nats, in float32
Replies = dict[str, list[dict[str, Any]]]


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


@dataclass(frozen=True)
class Setup:
    """What contestants are given: the model's side and size, the precision, the device, and the folder of checkpoints."""

    side: str
    size: str
    dtype: str
    folder: Path
    device: str = "cpu"

    def checkpoint(self) -> Path:
        """The folder of the weights, made if need be."""
        return checkpoint(
            self.size, self.folder, "float32" if self.device == "cpu" else self.dtype, self.device
        )

    @property
    def part(self) -> str:
        """The name of the model and the precision."""
        return f"{self.size}, {self.dtype}"


@contextmanager
def contestant(name: str, setup: Setup, *, walks: bool = False) -> Iterator[Contestant]:
    """Start a contestant, and end it afterwards."""
    environment = {
        **os.environ,
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "BENCHMARK_WALKS": "1" if walks else "",
    }
    asked = (name, setup.side, setup.dtype, str(setup.checkpoint()), setup.device)
    command = [sys.executable, "-m", "benchmarks.contestants", *asked]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, cwd=ROOT, env=environment
    ) as process:
        try:
            yield Contestant(process)
        finally:
            process.terminate()


def ranking(setup: Setup, repeats: int, share: float) -> list[Finding]:
    """Rank classification of every shape, beside the peers and the floor.

    Args:
        share: of the usual number of prompts.
    """
    part, on_cpu = f"ranking, {setup.part}", setup.device == "cpu"
    found: list[Finding] = []
    peaks: dict[str, int] = {}
    with ExitStack() as stack:
        names = ("workbench", *(PEERS[setup.dtype] if on_cpu else ("lm-eval",)))
        rivals = {name: stack.enter_context(contestant(name, setup)) for name in names}
        _in_turn(rivals, 1, do="rank", shape="a", count=2)
        for shape, usual in (COUNTS[setup.side] if on_cpu else GPU_COUNTS).items():
            count = max(4, int(usual * share))
            needed = operations(setup.side, setup.size, shape, count)
            replies = _in_turn(rivals, repeats, do="rank", shape=shape, count=count)
            found += _compared(
                part,
                f"({shape}) {count} prompts",
                replies,
                needed / rate(setup.dtype, setup.device),
                setup.dtype,
            )
            ours, theirs = ([each["seconds"] for each in replies[name]] for name in ("workbench", "lm-eval"))
            limit = (
                f"at equal rates at most {by_lm_eval(setup.side, setup.size, shape, count) / needed:.2f} ×"
            )
            goal = _goal(setup.side, setup.dtype, shape) if on_cpu else None
            found.append(ratio(part, f"({shape}) against lm-eval", theirs, ours, goal, limit))
            for name, each in replies.items():
                peaks[name] = max(peaks.get(name, 0), *(reply["peak"] for reply in each))
    value = peaks["workbench"] / peaks["lm-eval"]
    detail = ", ".join(f"{name} {peak / 2**30:.2f} GiB" for name, peak in peaks.items())
    detail += "; weights included"
    found.append(
        Result(part, "peak memory against lm-eval", value, "×", "≤ 0.4 ×", value <= 0.4, None, detail)
    )
    return found


def _compared(part: str, what: str, replies: Replies, floor: float, dtype: str) -> list[Finding]:
    seconds = {name: [reply["seconds"] for reply in each] for name, each in replies.items()}
    differs = {
        name: _difference(each[0]["answers"], replies["workbench"][0]["answers"])
        for name, each in replies.items()
        if name != "workbench"
    }
    comparison = Comparison(
        part, what, seconds, floor, {name: f"{nats:.1g} nats" for name, nats in differs.items()}
    )
    least = _SHARES[dtype]
    value = floor / comparison.median("workbench")
    found: list[Finding] = [
        comparison,
        Result(part, f"{what}: share of the floor", value, "", f"≥ {least}", value >= least),
    ]
    found += [
        ratio(part, f"{what}: against {name}", seconds[name], seconds["workbench"], 1.0)
        for name in seconds
        if name not in ("workbench", "lm-eval")
    ]
    exact = {name: nats for name, nats in differs.items() if dtype == "float32" and "int8" not in name}
    found += [
        Result(part, f"{what}: scores differ from {name}'s by at most", nats, "nats", f"≤ {_SAME}", nats <= _SAME)
        for name, nats in exact.items()
    ]  # fmt: skip
    return found


def generation(setup: Setup, repeats: int, share: float) -> list[Finding]:
    """Greedy text beside the peers: prompts of mixed lengths, and on the BLOOM side answers of mixed lengths."""
    part, on_cpu = f"generation, {setup.part}", setup.device == "cpu"
    count = max(32, int((96 if on_cpu else 512) * share))
    names = ("workbench", "transformers", *(("CTranslate2", "CTranslate2 int8") if on_cpu else ()))
    with ExitStack() as stack:
        rivals = {name: stack.enter_context(contestant(name, setup, walks=True)) for name in names}
        _in_turn(rivals, 1, do="write", count=2)
        replies = _in_turn(rivals, repeats, do="write", count=count)
    seconds = {name: [reply["seconds"] for reply in each] for name, each in replies.items()}
    texts = {name: each[0]["answers"] for name, each in replies.items()}
    same = {
        name: sum(a == b for a, b in zip(found, texts["workbench"], strict=True)) / count
        for name, found in texts.items()
        if name != "workbench"
    }
    words = sum(len(text.split()) for text in texts["workbench"]) / count
    what = f"{count} prompts, {words:.1f} tokens per answer"
    equal = same["transformers"]
    return [
        Comparison(part, what, seconds, None, {name: f"{share:.0%} equal" for name, share in same.items()}),
        *(ratio(part, f"against {name}", seconds[name], seconds["workbench"], _WRITING.get(name)) for name in same),
        Result(part, "texts equal to those of transformers", equal, "of all", "= 1", equal == 1),
    ]  # fmt: skip


def _in_turn(rivals: Mapping[str, Contestant], repeats: int, **order: Any) -> Replies:
    """Give all contestants an order, one after another, as often as asked."""
    replies: Replies = {name: [] for name in rivals}
    for _ in range(repeats):
        for name, rival in rivals.items():
            replies[name].append(rival.do(**order))
    return replies


def _goal(side: str, dtype: str, shape: str) -> float | None:
    goals = _AVX2 if kind() == "AVX2" else _AVX512
    return goals.get((side, dtype), {}).get(shape)


def _difference(theirs: list[list[float]], ours: list[list[float]]) -> float:
    pairs = [pair for one, other in zip(theirs, ours, strict=True) for pair in zip(one, other, strict=True)]
    return max(abs(a - b) for a, b in pairs)
