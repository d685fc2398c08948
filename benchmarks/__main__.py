"""`python -m benchmarks`: measure, print the table beside the goals, keep it under `data/benchmarks/`.

Each finished part is kept aside until the whole is done, so that an interrupted run goes on where it was.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks import alone, duels, runs
from benchmarks.results import ROOT, Result, table, write

_WORK = ROOT / "build" / "benchmarks"


def parts(folder: Path, *, quick: bool) -> dict[str, Callable[[], list[Result]]]:
    """Everything that can be measured, by name."""
    repeats, share = (1, 0.25) if quick else (3, 1.0)
    return {
        "starting": alone.starting,
        "store": alone.store,
        "ranking-bloom-float32": lambda: duels.ranking("bloom", "float32", folder, repeats, share),
        "ranking-bloom-bfloat16": lambda: duels.ranking("bloom", "bfloat16", folder, min(repeats, 2), share),
        "ranking-mt5-float32": lambda: duels.ranking("mt5", "float32", folder, repeats, share),
        "generation": lambda: duels.generation(folder, min(repeats, 2), share),
        "floor-float32": lambda: alone.floor(folder, "float32", share),
        "floor-bfloat16": lambda: alone.floor(folder, "bfloat16", share),
        "runs": lambda: [*runs.sweeps(*((4, 10) if quick else (20, 100))), *runs.single(1 if quick else 5)],
        "growth": lambda: alone.growth((100, 1000) if quick else (100, 1000, 10_000)),
    }


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a quarter of the prompts, once; nothing is kept"
    )
    parser.add_argument("--only", nargs="+", metavar="PART", help="these parts; nothing is kept")
    options = parser.parse_args()
    wanted = parts(_WORK, quick=options.quick)
    if options.only:
        if unknown := set(options.only) - set(wanted):
            parser.error(f"no part called {', '.join(sorted(unknown))}; choose from: {', '.join(wanted)}")
        wanted = {name: wanted[name] for name in options.only}
    whole = not (options.quick or options.only)
    results = []
    for name, measure in wanted.items():
        print(f"{name} …", flush=True)
        found = _measured(_WORK / "done" / f"{name}.json", measure) if whole else measure()
        print(table(found), flush=True)
        results += found
    if whole:
        write(results, ROOT / "data" / "benchmarks")
        for path in (_WORK / "done").glob("*.json"):
            path.unlink()
    print(table(results))
    if any(each.ok is False and each.unit in ("nats", "of all") for each in results):
        raise SystemExit("answers differ from those they are compared with")


def _measured(path: Path, measure: Callable[[], list[Result]]) -> list[Result]:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(each) for each in measure()]), encoding="utf-8")
    return [Result(**each) for each in json.loads(path.read_text(encoding="utf-8"))]


if __name__ == "__main__":
    main()
