"""Results: one line per goal, kept with the machine, the versions and the command that made them."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIBRARIES = ("torch", "transformers", "lm_eval", "tokenizers", "numpy", "papermill")


@dataclass(frozen=True)
class Result:
    """What was measured, with its unit, beside its goal; `ok` is None where there is none.

    `spread` is the smallest and largest of the repetitions; `detail` says what the number is made of.
    """

    part: str
    what: str
    value: float
    unit: str
    goal: str = ""
    ok: bool | None = None
    spread: tuple[float, float] | None = None
    detail: str = ""


def ratio(
    part: str, what: str, theirs: Sequence[float], ours: Sequence[float], goal: float | None, detail: str = ""
) -> Result:
    """How many times faster we were, by the median of the ratios of neighbouring runs."""
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    value = statistics.median(ratios)
    seconds = f"{statistics.median(theirs):.2f} s and {statistics.median(ours):.2f} s"
    return Result(
        part, what, value, "×", f"≥ {goal} ×" if goal else "", value >= goal if goal else None,
        (min(ratios), max(ratios)), f"{seconds}{'; ' if detail else ''}{detail}",
    )  # fmt: skip


def table(results: Sequence[Result]) -> str:
    """Results as a Markdown table."""
    lines = ["| part | what | measured | goal | | spread | detail |", "|---|---|---|---|---|---|---|"]
    for each in results:
        spread = "" if each.spread is None else f"{each.spread[0]:.3g} to {each.spread[1]:.3g}"
        mark = {None: "", True: "reached", False: "**missed**"}[each.ok]
        value = f"{each.value:,.0f}" if each.value >= 1000 else f"{each.value:.3g}"
        lines.append(
            f"| {each.part} | {each.what} | {value} {each.unit} | {each.goal} | {mark} | {spread} | {each.detail} |"
        )
    return "\n".join(lines) + "\n"


def machine() -> dict[str, str]:
    """What the figures depend on, with nothing that names the machine's owner."""
    model = "unknown processor"
    if Path("/proc/cpuinfo").exists():
        names = [
            line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0].split(":")[1].strip() if names else platform.machine()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    return {
        "command": "make bench",
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "processor": f"{model}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def write(results: Sequence[Result], folder: Path) -> None:
    """Write `results.json` and `results.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = machine()
    whole = {"made": facts, "results": [asdict(each) for each in results]}
    (folder / "results.json").write_text(
        json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    made = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    text = f"# Benchmarks\n\nRatios are medians of interleaved runs; the spread is over the repetitions.\n\n{table(results)}\n{made}\n"
    (folder / "results.md").write_text(text, encoding="utf-8")
