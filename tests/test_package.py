"""What ships: a wheel carries data, notebooks and weights, and finds them without the checkout."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The wheel's content, as pip would lay it out."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        folder,
        ROOT,
    ]
    subprocess.run(build, check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_finds_its_data_notebooks_and_weights_and_answers(unpacked, tmp_path):
    code = (
        "import workbench; from workbench.records import data_path, notebook_path; from workbench import load, generate\n"
        f"assert workbench.__file__.startswith({str(unpacked)!r}), workbench.__file__\n"
        "assert data_path('published_results.csv').exists() and notebook_path('03_probing.ipynb').exists()\n"
        f"assert str(data_path()).startswith({str(unpacked)!r})\n"
        "from workbench.family import shipped_miniatures\n"
        "assert len(shipped_miniatures()) >= 4\n"
        "print(generate(load('mini-bloomz'), ['Anna smiles. Is Anna happy?'], max_new_tokens=3)[0].text)"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(unpacked),
        "WORKBENCH_STORE": str(tmp_path / "store.sqlite"),
    }
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path)


def test_the_checkout_uses_its_own_data():
    from workbench.records import data_path

    assert data_path() == ROOT / "data"


def test_no_miniature_is_over_4_mib():
    weights = list((ROOT / "data/mini/models").glob("*/model.safetensors"))
    assert len(weights) == 8
    assert all(path.stat().st_size <= 4 * 2**20 for path in weights)


def test_constraints_pin_every_dependency_within_its_range():
    """What is declared is pinned, and environment.yml points to the same pins."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    declared = [*project["dependencies"], *(each for extra in extras for each in extra)]
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().lower().splitlines()
        if "==" in line
    )
    names = [re.match(r"[\w-]+", each).group().lower() for each in declared]
    missing = [name for name in names if name not in pins and name.replace("-", "_") not in pins]
    assert missing == []
    assert "+" not in pins["torch"]
    assert "constraints.txt" in (ROOT / "environment.yml").read_text()


def test_the_readmes_map_names_every_room_and_no_other():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.split("## The rooms")[1].split("\n## ")[0]
    named = {
        name
        for row in table.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`(\w+)`", row.split("|")[1] + (row.split("(")[1] if "(`" in row else ""))
    }
    rooms = {
        path.stem
        for path in (ROOT / "src/workbench").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert named == rooms - {"__init__"}


def test_the_readme_is_short_and_its_links_lead_somewhere():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(re.sub(r"```.*?```", "", readme, flags=re.DOTALL).split()) <= 700
    for target in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (ROOT / target).exists(), target


def test_the_readmes_python_runs():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip()


def test_the_readmes_figures_are_those_of_the_published_scores():
    from workbench.published import CROSSLINGUAL_TASKS, differences, results, seen_means

    median = results(tasks=CROSSLINGUAL_TASKS, statistic="median", prompt_language="en")
    gain = seen_means(differences(median, {"bloomz": "bloom"}), by=["model"]).set_index("seen")["mean"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert (
        f"{gain[True]:.1f} points in languages the model saw and {gain[False]:.1f} in languages it did not"
        in readme
    )
