"""`python -m benchmarks`: measure, print the tables, keep them under `data/benchmarks/` and as `docs/benchmarks.md`.

Each finished part is kept aside until all that were asked for are done, so that an interrupted run goes on where it was.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks import alone, duels, page, runs, service
from benchmarks.checkpoints import SIDES
from benchmarks.duels import Setup
from benchmarks.machine import ROOT, facts, kind
from benchmarks.results import Finding, Part, keep, read, save, table

_WORK = ROOT / "build" / "benchmarks"
_KEPT = ROOT / "data" / "benchmarks"


def parts(folder: Path, *, quick: bool) -> dict[str, Callable[[], Sequence[Finding]]]:
    """Everything that can be measured, by name."""
    repeats, share = (1, 0.25) if quick else (3, 1.0)
    ranked = {
        f"ranking-{side}-{dtype}": partial(duels.ranking, Setup(side, size, dtype, folder), repeats, share)
        for side, size in SIDES.items()
        for dtype in ("float32", "bfloat16")
    }
    written = {
        f"generation-{side}": partial(
            duels.generation, Setup(side, size, "float32", folder), min(repeats, 2), share
        )
        for side, size in SIDES.items()
    }
    return {
        "starting": alone.starting,
        "store": lambda: [*alone.store(), *alone.million(50_000 if quick else 1_000_000)],
        **ranked,
        **written,
        "runs": lambda: [*runs.sweeps(*((4, 10) if quick else (20, 100))), *runs.single(1 if quick else 5)],
        "runs-560m": lambda: runs.large(3 if quick else 8, folder),
        "service": lambda: [
            *service.ranking(500 if quick else 2000, repeats),
            *service.first_answer(folder, 3 if quick else 7),
        ],
        "growth": lambda: alone.growth((100, 1000) if quick else (100, 1000, 10_000, 100_000)),
    }


def gpu_parts(folder: Path, *, quick: bool) -> dict[str, Callable[[], Sequence[Finding]]]:
    """What is measured on a GPU in some eight minutes: ranking and generation in bfloat16."""
    share = 0.25 if quick else 1.0
    setups = [Setup("bloom", size, "bfloat16", folder, "cuda") for size in ("bloomz-560m", "bloomz-7b1")]
    return {
        f"{what.__name__}-{setup.size}": partial(what, setup, 1, share)
        for setup in setups
        for what in (duels.ranking, duels.generation)
    }


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a quarter of the prompts, once; nothing is kept"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="PART", help="these parts; they replace what is kept of them"
    )
    parser.add_argument("--gpu", action="store_true", help="on a GPU (15 GB of disk); nothing is kept")
    options = parser.parse_args()
    every = (gpu_parts if options.gpu else parts)(_WORK, quick=options.quick)
    keeps, device = not (options.quick or options.gpu), "cuda" if options.gpu else "cpu"
    if unknown := set(options.only or ()) - set(every):
        parser.error(f"no part called {', '.join(sorted(unknown))}; choose from: {', '.join(every)}")
    flags = [f"--{name}" for name in ("quick", "gpu") if getattr(options, name)]
    flags += ["--only", *options.only] if options.only else []
    command = " ".join(["python -m benchmarks", *flags])
    found: dict[str, Part] = {}
    for name in options.only or every:
        print(f"{name} …", flush=True)
        found[name] = _measured(name, every[name], facts(command, device), keep_it=keeps)
        print(table(found[name].findings), flush=True)
    if keeps:
        keep(found, list(every), _KEPT / f"{kind()}.json")
        page.write(_KEPT, ROOT / "docs" / "benchmarks.md")
        for name in found:
            _aside(name).unlink()
    print(table([each for part in found.values() for each in part.findings]))
    print("\n".join(f"- {what}: {value}" for what, value in facts(command, device).items()))
    results = [each for part in found.values() for each in part.results]
    if any(each.ok is False and each.unit in ("nats", "of all") for each in results):
        raise SystemExit("answers differ from those they are compared with")


def _measured(
    name: str, measure: Callable[[], Sequence[Finding]], made: dict[str, str], keep_it: bool
) -> Part:
    """Measure a part, or read it where an interrupted run has kept it aside."""
    if not keep_it:
        return Part(made, list(measure()))
    if not _aside(name).exists():
        save({name: Part(made, list(measure()))}, _aside(name))
    return read(_aside(name))[name]


def _aside(name: str) -> Path:
    return _WORK / "done" / f"{name}.json"


if __name__ == "__main__":
    main()
