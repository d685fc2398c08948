"""Laws of the committed notebooks: thin, executed as they stand, honest about what their figures rest on.

`faults` lists what is wrong with a notebook; each rule has a twin below, a small notebook that breaks just that rule.
"""

import ast
import json
import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from miniatures.recipe import member
from miniatures.world import read_world
from workbench.errors import BadInput
from workbench.figures import BADGES
from workbench.paths import notebook_path
from workbench.runs import check_committed
from workbench.runs.notebooks import last_markdown, read_notebook, tags
from workbench.runs.parameters import check

NOTEBOOKS = sorted(notebook_path().glob("*.ipynb"))
CLOCK = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d|\b\d\d:\d\d:\d\d\b|\bCPU times\b|\bit/s\b")


def faults(path: Path) -> list[str]:
    notebook = read_notebook(path)
    nbformat.validate(nbformat.read(path, as_version=4))
    found = check_committed(path)
    found += [
        f"cell {i} {what}"
        for i, cell in enumerate(notebook.code, 1)
        for what in code_faults(cell["source"], 25 if "parameters" in tags(cell) else 15)
    ]
    found += [f"cell {i} {what}" for i, cell in enumerate(notebook.code, 1) for what in output_faults(cell)]
    found += ["tag raises-exception"] * any("raises-exception" in tags(cell) for cell in notebook.cells)
    found += ["more than 25 code cells"] * (len(notebook.code) > 25)
    found += ["more than 1 MB"] * (path.stat().st_size > 1e6)
    found += ["no title"] * (not notebook.cells[0]["source"].startswith("# "))
    found += ["no computed answer at the end"] * (not last_markdown(notebook))
    try:
        check(notebook, {})
    except BadInput as error:
        found.append(f"refuses its own parameters: {error}")
    return [*found, *(f"parameter {what}" for what in parameter_faults(notebook.parameters_cell))]


def parameter_faults(source):
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            yield f"{ast.unparse(node.targets[0])} has no type"
        if isinstance(node, ast.Assign | ast.AnnAssign) and not re.search(
            r"  # \w", lines[node.end_lineno - 1]
        ):
            yield f"{lines[node.end_lineno - 1]} is not explained"


def code_faults(source, longest):
    if re.search(r"^\s*[%!]", source, re.MULTILINE):
        yield "uses a magic or the shell"
        return
    if len([line for line in source.splitlines() if line.strip()]) > longest:
        yield f"has more than {longest} lines"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield "defines a function or a class"
        elif isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield "imports a star"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "sys.exit",
            "exit",
            "quit",
            "os._exit",
        ):
            yield "ends the notebook"


def output_faults(cell):
    for output in cell["outputs"]:
        if "image/png" in output.get("data", {}):
            facts = output["metadata"].get("workbench", {})
            if facts.get("badge") not in BADGES or not output["metadata"].get("image/png", {}).get("alt"):
                yield "shows a figure without badge or text alternative"
        data = output.get("data", {})
        texts = [output.get("text", ""), data.get("text/plain", ""), data.get("text/markdown", "")]
        if CLOCK.search(json.dumps(texts)):
            yield "shows a time"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_committed_notebook_keeps_every_rule(path):
    assert faults(path) == []


def misfits(changed) -> list[str]:
    """What notebook 02 says of the miniature family that the family's recipe does not."""
    chosen = check(read_notebook(notebook_path("02_language_transfer.ipynb")), changed)[0]
    groups = {"xp3": chosen["models"], "p3": chosen["english_models"], "xp3mt": chosen["native_models"]}
    return [
        f"{name} was not finetuned from {base} on {mixture}"
        for mixture, names in groups.items()
        for name, base in zip(names, chosen["bases"], strict=True)
        if (member(name).base, member(name).mixture) != (base, mixture)
    ]


def test_the_transfer_notebook_knows_how_the_miniatures_were_finetuned():
    assert misfits({}) == []
    source = "".join(
        cell["source"] for cell in read_notebook(notebook_path("02_language_transfer.ipynb")).code
    )
    (ours,) = re.findall(r"^ours = (\[.*\])$", source, re.MULTILINE)
    assert set(ast.literal_eval(ours)) == set(read_world().languages)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bases": ["mini-mt5", "mini-bloom"]}, "mini-bloomz was not finetuned from mini-mt5"),
        (
            {"native_models": ["mini-mt0-mt", "mini-bloomz-mt"]},
            "mini-mt0-mt was not finetuned from mini-bloom on xp3mt",
        ),
    ],
)
def test_a_transfer_notebook_that_does_not_know_it_is_found_out(change, said):
    assert any(said in one for one in misfits(change))


# The twins -------------------------------------------------------------------------------------------------------


CELL = 'language: str = "no"  # a code\nlanguages: list[str] = []  # codes\nseed: int = 0  # of draws\nassert seed >= 0'
PNG = new_output(
    "display_data",
    {"image/png": "aaaa", "text/plain": "[MEASURED] It rises."},
    metadata={"image/png": {"alt": "It rises."}, "workbench": {"badge": "MEASURED"}},
)


def write(folder, source="y = 1", *, cell=CELL, outputs=(), digest=None, count=None, tag=None):
    answer = new_output("display_data", {"text/markdown": "It does."})
    cells = [
        new_code_cell(cell, metadata={"tags": ["parameters"]}),
        new_code_cell(source, outputs=list(outputs), metadata={"tags": [tag]} if tag else {}),
        new_code_cell("show(text)", outputs=[answer]),
    ]
    for number, each in enumerate(cells, 1):
        each["execution_count"] = count or number
    path = folder / "00_small.ipynb"
    book = new_notebook(cells=[new_markdown_cell("# A question?"), *cells])
    nbformat.write(book, path)
    book.metadata["workbench"] = {"executed_sources": digest or read_notebook(path).digest}
    nbformat.write(book, path)
    return path


def test_a_notebook_that_keeps_every_rule_has_no_fault(tmp_path):
    assert faults(write(tmp_path, outputs=[PNG])) == []


def png(**metadata):
    return new_output("display_data", {"image/png": "aaaa"}, metadata=metadata)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"source": "def f(): pass"}, "defines"),
        ({"source": "from math import *"}, "star"),
        ({"source": "%matplotlib inline"}, "magic"),
        ({"source": "!ls"}, "magic"),
        ({"source": "import sys\nsys.exit(0)"}, "ends the notebook"),
        ({"source": "\n".join(["y = 1"] * 16)}, "15 lines"),
        ({"tag": "raises-exception"}, "raises-exception"),
        ({"digest": "another"}, "not what was executed"),
        ({"count": 4}, "in order"),
        ({"cell": CELL.replace("int = 0", "int = -1")}, "refuses its own parameters"),
        ({"cell": CELL.replace("int = 0", "str = 0")}, "refuses its own parameters"),
        ({"cell": CELL + "\nmore = 1  # of it"}, "more has no type"),
        ({"cell": CELL + "\nmore: int = 1"}, "is not explained"),
        ({"cell": CELL + "".join(f"\nn{i}: int = 1  # of them" for i in range(22))}, "25 lines"),
        ({"outputs": [png()]}, "without badge"),
        (
            {"outputs": [png(workbench={"badge": "REAL"}, **{"image/png": {"alt": "It rises."}})]},
            "without badge",
        ),
        ({"outputs": [new_output("stream", name="stdout", text="in /home/me/work")]}, "path of some machine"),
        ({"outputs": [new_output("stream", name="stdout", text="at 12:30:05")]}, "a time"),
        ({"outputs": [new_output("stream", name="stderr", text="careful")]}, "a warning"),
        (
            {"outputs": [new_output("display_data", {"image/png": "a" * 1_100_000}, metadata=PNG.metadata)]},
            "1 MB",
        ),
    ],
)
def test_a_notebook_that_breaks_one_rule_has_that_fault(tmp_path, change, fault):
    (found,) = faults(write(tmp_path, **change))
    assert fault in found
