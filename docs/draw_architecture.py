"""Draw the house from its code: rooms and imports, and the way a call takes through the files.

`python docs/draw_architecture.py` writes `architecture-rooms.svg` and `architecture-paths.svg` beside this file. Rooms and arrows are
read from the import statements; a path is recorded while a call runs on a miniature, with an empty store.
"""

import ast
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import matplotlib
from matplotlib import pyplot

import workbench
from workbench import Item, generate, load, rank, runs
from workbench.store import Store

matplotlib.use("Agg")
HERE = Path(__file__).parent
SOURCE = Path(workbench.__file__).parent
BASEMENT = ("errors", "paths", "atomic", "gguf_header", "run_log")
SURFACE, LINE, INK = "#eef3f8", "#9db4c8", "#1b2a38"


def room_of(path: Path) -> str:
    """The room that a source file belongs to: the first folder or file below the package."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> Iterator[str]:
    """The rooms of `workbench` that a file's import statements name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "workbench":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("workbench."):
            yield str(node.module).split(".")[1]
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "workbench":  # read on first use
            yield node.attr


def read_rooms() -> dict[str, set[str]]:
    """Every room and the rooms it imports, but for those of the basement, which nearly all import."""
    arrows: dict[str, set[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        room = room_of(path)
        if room not in ("__init__", *BASEMENT):
            arrows.setdefault(room, set()).update(set(imported_rooms(path)) - {room, *BASEMENT})
    return {
        room: below & set(arrows) - ({"engines"} if room == "models" else set())
        for room, below in arrows.items()
    }


def floors(arrows: dict[str, set[str]]) -> dict[str, int]:
    """The floor of each room: one above the highest room it imports."""
    found: dict[str, int] = {}

    def floor(room: str) -> int:
        if room not in found:
            found[room] = 1 + max((floor(below) for below in arrows.get(room, ())), default=-1)
        return found[room]

    for room in arrows:
        floor(room)
    return found


def files_on_the_way(call: Callable[[], Any]) -> list[str]:
    """The package's files in the order in which a call first enters them."""
    seen: dict[str, None] = {}

    def note(frame: FrameType, event: str, _: Any) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(str(SOURCE)) and frame.f_code.co_name != "<module>":
            seen.setdefault(Path(name).relative_to(SOURCE).as_posix().removesuffix(".py"))

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return list(seen)


def paths() -> dict[str, list[str]]:
    """The way of `generate`, `rank` and `run` through the files."""
    with tempfile.TemporaryDirectory() as folder:
        model = load("mini-bloomz", store=Store(Path(folder) / "store.sqlite"))
        item = Item("1", "Anna has 4 apples. Who has apples?", ("Anna", "Tom"))
        notebook = Path(folder) / "one.ipynb"
        notebook.write_text(ONE_CELL, encoding="utf-8")
        generate(
            model, ["Tom has 2 lemons."], max_new_tokens=1
        )  # what is imported on first use is no part of a path
        calls = {
            "generate(model, prompts)": partial(generate, model, ["Anna has 4 apples."], max_new_tokens=4),
            "rank(model, items)": partial(rank, model, [item]),
            "workbench run NOTEBOOK": partial(runs.run, str(notebook), root=str(Path(folder) / "runs")),
        }
        return {name: files_on_the_way(call) for name, call in calls.items()}


ONE_CELL = """{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code", "id": "a", "metadata":
{"tags": ["parameters"]}, "source": "seed: int = 0", "outputs": [], "execution_count": null}]}"""


def draw_rooms(arrows: dict[str, set[str]], path: Path) -> None:
    """Draw rooms as boxes, one row per floor, and an arrow for every import."""
    level = floors(arrows)
    rows = [
        sorted(room for room in level if level[room] == floor) for floor in range(max(level.values()) + 1)
    ]
    place = {
        room: ((number + 0.5) / len(row) * 10, floor * 1.1)
        for floor, row in enumerate(rows)
        for number, room in enumerate(row)
    }
    figure, axes = pyplot.subplots(figsize=(9, 1.0 * len(rows) + 0.4), layout="constrained")
    for room, below in arrows.items():
        for other in sorted(below & set(place)):
            axes.annotate(
                "", place[other], place[room], arrowprops={"arrowstyle": "-", "color": LINE, "lw": 0.7}
            )
    for room, (x, y) in place.items():
        box = {"boxstyle": "round,pad=0.4", "facecolor": SURFACE, "edgecolor": INK, "linewidth": 0.8}
        axes.text(x, y, room, ha="center", va="center", color=INK, fontsize=11, bbox=box)
    axes.set(xlim=(0, 10), ylim=(-0.6, len(rows) * 1.1 - 0.4))
    axes.axis("off")
    _save(figure, path)


def draw_paths(found: dict[str, list[str]], path: Path) -> None:
    """Draw each path as a column of files, in the order in which they are entered."""
    longest = max(map(len, found.values()))
    figure, axes = pyplot.subplots(figsize=(9, 0.27 * longest + 0.6), layout="constrained")
    for column, (call, files) in enumerate(found.items()):
        axes.text(column, 1, call, ha="left", va="center", color=INK, fontsize=10, weight="bold")
        for number, file in enumerate(files):
            axes.text(column, -number, f"{number + 1}  {file}", ha="left", va="center", color=INK, fontsize=9)
    axes.set(xlim=(-0.05, len(found)), ylim=(-longest, 1.8))
    axes.axis("off")
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    with matplotlib.rc_context({"svg.hashsalt": "workbench", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})


def main(names: Iterable[str] = ("rooms", "paths")) -> None:
    """Write the pictures."""
    if "rooms" in names:
        draw_rooms(read_rooms(), HERE / "architecture-rooms.svg")
    if "paths" in names:
        draw_paths(paths(), HERE / "architecture-paths.svg")


if __name__ == "__main__":
    main()
