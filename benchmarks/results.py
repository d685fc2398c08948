"""Results: one line per goal, kept with the machine, the versions and the command that made them."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
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


def facts(command: str) -> dict[str, str]:
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
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "processor": f"{model}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


@dataclass(frozen=True)
class Part:
    """The results of one part, and the facts they depend on."""

    made: dict[str, str]
    results: list[Result]


def read(path: Path) -> dict[str, Part]:
    """The parts of a file that `save` wrote; none where it is not there."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Part(part["made"], [Result(**each) for each in part["results"]]) for name, part in found.items()
    }


def save(parts: Mapping[str, Part], path: Path) -> None:
    """Write parts as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {name: asdict(part) for name, part in parts.items()}
    path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def keep(parts: Mapping[str, Part], order: Sequence[str], folder: Path) -> None:
    """Put parts in the place of those of the same name in `results.json`, and write `results.md` from all."""
    found = {**read(folder / "results.json"), **parts}
    whole = {name: found[name] for name in order if name in found}
    save(whole, folder / "results.json")
    rows = table([each for part in whole.values() for each in part.results])
    text = f"# Benchmarks\n\nRatios are medians of interleaved runs; the spread is over the repetitions.\n\n{rows}"
    (folder / "results.md").write_text(text + _told(whole), encoding="utf-8")


def _told(whole: Mapping[str, Part]) -> str:
    """Say of each set of facts which parts were made under it."""
    named: dict[str, list[str]] = {}
    for name, part in whole.items():
        said = "\n".join(f"- {what}: {value}" for what, value in part.made.items())
        named.setdefault(said, []).append(name)
    return "".join(f"\n**{', '.join(names)}**\n\n{said}\n" for said, names in named.items())
