"""The floors: a room imports only from floors strictly below it, and torch stays behind its line."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import workbench
import workbench.runs

SOURCE = Path(workbench.__file__).parent
FLOORS = [
    {"errors", "paths"},
    {"atomic", "gguf_header"},
    {"run_log", "family", "store", "prompts", "stats", "downloads"},
    {"tasks", "models", "words"},
    {"engines", "fetching"},
    {"inference", "service", "training"},
    {"studies"},
    {"figures", "playground", "runs"},
    {"grading"},
    {"cli"},
]
FLOOR_OF = {room: number for number, floor in enumerate(FLOORS) for room in floor}
TORCH = {"torch", "transformers", "accelerate"}
MAY_TORCH = {"engines", "training"}
LAZY = {"__init__.py"}  # imports on first use
MINIATURES = re.compile(r"\bmini\b|mini[-_/]|miniature|\bx-[a-z]{2}")
BROAD = {
    "engines/transformers/convert.py",  # what a hostile pickle makes torch raise
    "engines/transformers/loading.py",  # what a damaged file makes tokenizers and safetensors raise
    "cli/boundary.py",  # the last resort
    "grading/worker.py",  # whatever a student's function raises
}


def modules():
    found = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))
    return [name for name in found if name != "__init__.py"]


def room(name):
    return name.split("/")[0].removesuffix(".py")


def imports(tree):
    """(module, inside a function?) of every import."""
    inside = {
        child for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = (
                [f"workbench.{a.name}" for a in node.names] if node.module == "workbench" else [node.module]
            )
            yield from ((name, node in inside) for name in names)


def type_checking_only(tree):
    blocks = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    return {child for block in blocks for child in ast.walk(block)}


def violations(name, text):
    tree = ast.parse(text)
    for node in list(type_checking_only(tree)):
        node.__dict__.update(ast.Pass().__dict__) if isinstance(node, ast.Import) else None
        if isinstance(node, ast.ImportFrom):
            node.module, node.names = "typing", []
    for module, inside in imports(tree):
        head = module.split(".")[0]
        if inside:
            if name not in LAZY:
                yield f"{name} imports {module} inside a function"
            continue
        if head == "workbench" and "." in module:
            other = module.split(".")[1]
            if other != room(name) and FLOOR_OF.get(other, 99) >= FLOOR_OF[room(name)]:
                yield f"{name} imports {other}, which is not below it"
        if head == "miniatures":
            yield f"{name} imports {module}, which is built on this package"
        if head in TORCH and room(name) not in MAY_TORCH:
            yield f"{name} imports {module} above the torch-free line"


def said(text):
    """Every name and text of a module's code, without comments and docstrings."""
    for node in ast.walk(ast.parse(text)):
        for statement in getattr(node, "body", []) if not isinstance(node, ast.IfExp | ast.Lambda) else []:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                statement.value.value = ""
        fields = (getattr(node, name, None) for name in ("id", "attr", "arg", "name", "value", "module"))
        yield from (field for field in fields if isinstance(field, str))


def test_every_room_has_a_floor():
    assert {room(name) for name in modules()} == set(FLOOR_OF)


@pytest.mark.parametrize("name", modules())
def test_imports_go_down(name):
    assert list(violations(name, (SOURCE / name).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("store/__init__.py", "from workbench.models import load"),
        ("tasks/items.py", "import workbench.models"),
        ("inference/generation.py", "import torch"),
        ("tasks/items.py", "import miniatures.world"),
        ("family.py", "def f():\n    import json"),
    ],
)
def test_the_check_sees_a_climb_a_sidestep_torch_and_a_hidden_import(name, text):
    assert len(list(violations(name, text))) == 1


@pytest.mark.parametrize("name", modules())
def test_the_package_knows_nothing_of_the_miniature_world(name):
    """It plugs in as a family, as any other does."""
    assert [one for one in said((SOURCE / name).read_text(encoding="utf-8")) if MINIATURES.search(one)] == []


@pytest.mark.parametrize(
    "text",
    [
        "def is_miniature(name): ...",
        "found = data_path('mini/models')",
        "english = 'x-en'",
        "name.startswith('mini-')",
        "import miniatures.world",
        "f'the miniatures: {names}'",
    ],
)
def test_twin_knowledge_of_it_is_seen_in_code_and_not_in_docstrings(text):
    assert any(MINIATURES.search(one) for one in said(text))
    assert not any(
        MINIATURES.search(one) for one in said(f'def f():\n    """{text}"""\n    return 1  # {text}')
    )


@pytest.mark.parametrize("name", modules())
def test_no_broad_except(name):
    tree = ast.parse((SOURCE / name).read_text(encoding="utf-8"))
    handlers = [
        ast.unparse(node.type) if node.type else ""
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
    ]
    broad = {"", "Exception", "BaseException"} & set(handlers)
    assert not broad or name in BROAD


def test_importing_the_package_or_a_light_room_reads_no_torch_and_no_pandas():
    code = (
        "import workbench, workbench.models, workbench.inference.generation, workbench.store, workbench.family, workbench.cli, sys;"
        "assert not {'torch', 'transformers', 'pandas', 'papermill'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_notebooks_import_reads_no_torch():
    """Notebook 02 imported it for a baseline of n-grams, over the mixtures: a third of its time."""
    code = (
        "import miniatures.baselines, miniatures.check, workbench.training.mixtures, sys;"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_public_names_exist_and_a_wrong_one_is_an_attribute_error():
    for package in (workbench, workbench.runs, workbench.training, workbench.training.mixtures):
        for name in package.__all__:
            assert getattr(package, name)
    with pytest.raises(AttributeError, match="ranke"):
        workbench.ranke  # noqa: B018


def expands(text):
    return any(getattr(node, "attr", None) == "expanduser" for node in ast.walk(ast.parse(text)))


def test_home_folders_are_expanded_in_one_place():
    """pathlib's own raises a RuntimeError for a user who does not exist."""
    found = [name for name in modules() if expands((SOURCE / name).read_text(encoding="utf-8"))]
    assert found == ["paths.py"]
    assert expands("Path(x).expanduser()")
