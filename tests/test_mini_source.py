"""The digest of the code that draws what a member reads: comments do not count, every drawing does."""

import ast
import re
import shutil

import pytest

from miniatures import recipe
from miniatures.source import MODULES, source_digest, syntax
from workbench.paths import PACKAGE


@pytest.fixture
def copy(tmp_path):
    for name in MODULES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGE.parent / f"{name}.py", tmp_path / f"{name}.py")
    return tmp_path


@pytest.mark.parametrize("name", MODULES)
def test_comments_docstrings_and_layout_do_not_count(name, copy):
    path = copy / f"{name}.py"
    text = path.read_text(encoding="utf-8")
    changed = re.sub(r'^( *)""".*?"""$', r'\1"""Other words."""', text, flags=re.DOTALL | re.MULTILINE)
    assert changed != text
    path.write_text("# a comment\n" + changed.replace("\n\n", "\n\n\n"), encoding="utf-8")
    assert source_digest(copy) == source_digest()


@pytest.mark.parametrize("name", MODULES)
def test_twin_a_changed_number_does(name, copy):
    path = copy / f"{name}.py"
    lines = path.read_text(encoding="utf-8").split("\n")
    numbers = [node for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, ast.Constant)]
    one = next(node for node in numbers if type(node.value) in (int, float))
    line = lines[one.lineno - 1]
    lines[one.lineno - 1] = f"{line[: one.col_offset]}{one.value + 1}{line[one.end_col_offset :]}"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert source_digest(copy) != source_digest()


def test_fields_that_only_some_versions_of_python_have_do_not_count(monkeypatch):
    text = "def draw(rng):\n    return rng.random()\n"
    before = syntax(text)
    assert "type_params" not in str(before)
    monkeypatch.setattr(ast.FunctionDef, "_fields", (*ast.FunctionDef._fields, "newer"))
    monkeypatch.setattr(ast.FunctionDef, "newer", [], raising=False)
    assert syntax(text) == before
    monkeypatch.setattr(ast.FunctionDef, "newer", ["something"])
    assert syntax(text) != before


def test_where_a_module_of_ours_lies_does_not_count_but_what_is_imported_does():
    here = syntax("from workbench.training.batches import loss_of\n")
    assert here == syntax("from miniatures.losses import loss_of\n")
    assert here != syntax("from miniatures.losses import other\n")
    assert here != syntax("from torch.losses import loss_of\n")


def test_the_recipe_of_every_member_hangs_on_it(monkeypatch):
    before = {one.name: recipe.recipe_hash(one, 0) for one in recipe.MEMBERS}
    assert before == {one.name: recipe.recipe_hash(one, 0) for one in recipe.MEMBERS}
    monkeypatch.setattr(recipe, "source_digest", lambda: "other")
    assert not {(one.name, recipe.recipe_hash(one, 0)) for one in recipe.MEMBERS} & set(before.items())


def test_the_order_of_imports_of_ours_does_not_count():
    one, other = "from workbench.a import first\n", "from workbench.b import second\n"
    assert syntax(one + other) == syntax(other + one)
    assert syntax(one + other) != syntax(one)
