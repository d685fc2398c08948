"""`python -m benchmarks`: measure, print the table beside the goals, keep it under `data/benchmarks/`.

Each finished part is kept aside until all that were asked for are done, so that an interrupted run goes on where it was.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks import alone, duels, runs, service
from benchmarks.results import ROOT, Part, Result, facts, keep, read, save, table

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
        "runs-560m": lambda: runs.large(3 if quick else 8, folder),
        "service": lambda: [
            *service.ranking(500 if quick else 2000, repeats),
            *service.first_answer(folder, 3 if quick else 7),
        ],
        "growth": lambda: alone.growth((100, 1000) if quick else (100, 1000, 10_000)),
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
    options = parser.parse_args()
    every = parts(_WORK, quick=options.quick)
    if unknown := set(options.only or ()) - set(every):
        parser.error(f"no part called {', '.join(sorted(unknown))}; choose from: {', '.join(every)}")
    command = " ".join(["python -m benchmarks", *(["--only", *options.only] if options.only else [])])
    found: dict[str, Part] = {}
    for name in options.only or every:
        print(f"{name} …", flush=True)
        found[name] = _measured(name, every[name], command, keep_it=not options.quick)
        print(table(found[name].results), flush=True)
    if not options.quick:
        keep(found, list(every), ROOT / "data" / "benchmarks")
        for name in found:
            _aside(name).unlink()
    results = [each for part in found.values() for each in part.results]
    print(table(results))
    if any(each.ok is False and each.unit in ("nats", "of all") for each in results):
        raise SystemExit("answers differ from those they are compared with")


def _measured(name: str, measure: Callable[[], list[Result]], command: str, keep_it: bool) -> Part:
    """Measure a part, or read it where an interrupted run has kept it aside."""
    if not keep_it:
        return Part(facts(command), measure())
    if not _aside(name).exists():
        save({name: Part(facts(command), measure())}, _aside(name))
    return read(_aside(name))[name]


def _aside(name: str) -> Path:
    return _WORK / "done" / f"{name}.json"


if __name__ == "__main__":
    main()
