"""Results: a line per goal and a row per comparison, kept for each kind of processor with what they depend on."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


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


@dataclass(frozen=True)
class Comparison:
    """Seconds of contestants on the same orders, one number per repetition; the floor in seconds; how answers differ from ours."""

    part: str
    what: str
    seconds: dict[str, list[float]]
    floor: float | None = None
    differs: dict[str, str] = field(default_factory=dict)

    def median(self, name: str) -> float:
        """A contestant's seconds, the median of the repetitions."""
        return statistics.median(self.seconds[name])

    @property
    def ahead(self) -> str:
        """The contestant with the fewest seconds."""
        return min(self.seconds, key=self.median)


Finding = Result | Comparison


def ratio(
    part: str, what: str, theirs: Sequence[float], ours: Sequence[float], goal: float | None, detail: str = ""
) -> Result:
    """How many times faster we were, by the median of the ratios of neighbouring runs."""
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    value = statistics.median(ratios)
    seconds = f"{statistics.median(theirs):.2f} s and {statistics.median(ours):.2f} s"
    return Result(
        part, what, value, "×", f"≥ {goal:g} ×" if goal else "", value >= goal if goal else None,
        (min(ratios), max(ratios)), f"{seconds}{'; ' if detail else ''}{detail}",
    )  # fmt: skip


@dataclass(frozen=True)
class Part:
    """The findings of one part, and the facts they depend on."""

    made: dict[str, str]
    findings: list[Finding]

    @property
    def results(self) -> list[Result]:
        """The lines with goals."""
        return [each for each in self.findings if isinstance(each, Result)]

    @property
    def comparisons(self) -> list[Comparison]:
        """The rows with several contestants."""
        return [each for each in self.findings if isinstance(each, Comparison)]


def read(path: Path) -> dict[str, Part]:
    """The parts of a file that `save` wrote; none where it is not there."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Part(part["made"], [_finding(each) for each in part["findings"]])
        for name, part in found.items()
    }


def _finding(content: dict[str, Any]) -> Finding:
    if "seconds" in content:
        return Comparison(**content)
    spread = content["spread"]
    return Result(**{**content, "spread": spread and tuple(spread)})


def save(parts: Mapping[str, Part], path: Path) -> None:
    """Write parts as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {name: asdict(part) for name, part in parts.items()}
    path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def keep(parts: Mapping[str, Part], order: Sequence[str], path: Path) -> None:
    """Put parts in the place of those of the same name in a file; parts that `order` does not have leave it."""
    found = {**read(path), **parts}
    save({name: found[name] for name in order if name in found}, path)


def table(findings: Sequence[Finding]) -> str:
    """Findings as Markdown: who was how fast and who is ahead, then the goals."""
    rows = [each for each in findings if isinstance(each, Comparison)]
    results = [each for each in findings if isinstance(each, Result)]
    return "\n".join(part for part in (_comparisons(rows), _results(results)) if part)


def _comparisons(rows: Sequence[Comparison]) -> str:
    if not rows:
        return ""
    names = list(dict.fromkeys(name for row in rows for name in row.seconds))
    lines = [
        f"| seconds | floor | {' | '.join(names)} | ahead |",
        f"|---|---|{'---|' * len(names)}---|",
    ]
    for row in rows:
        floor = "" if row.floor is None else f"{row.floor:.2f}"
        cells = [_seconds(row, name) for name in names]
        lines.append(f"| {row.part} {row.what} | {floor} | {' | '.join(cells)} | {row.ahead} |")
    return "\n".join(lines) + "\n"


def _seconds(row: Comparison, name: str) -> str:
    if name not in row.seconds:
        return ""
    each, differs = row.seconds[name], row.differs.get(name)
    spread = f" [{min(each):.2f}, {max(each):.2f}]" if len(each) > 1 else ""
    return f"{row.median(name):.2f}{spread}{f'; {differs}' if differs else ''}"


def _results(results: Sequence[Result]) -> str:
    if not results:
        return ""
    lines = ["| part | what | measured | goal | | spread | detail |", "|---|---|---|---|---|---|---|"]
    for each in results:
        spread = "" if each.spread is None else f"{each.spread[0]:.3g} to {each.spread[1]:.3g}"
        mark = {None: "", True: "reached", False: "**missed**"}[each.ok]
        value = f"{each.value:,.0f}" if each.value >= 1000 else f"{each.value:.3g}"
        lines.append(
            f"| {each.part} | {each.what} | {value} {each.unit} | {each.goal} | {mark} | {spread} | {each.detail} |"
        )
    return "\n".join(lines) + "\n"
