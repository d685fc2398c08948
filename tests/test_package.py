"""What ships: a wheel carries data, notebooks and weights, and finds them without the checkout."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import workbench

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
        "import workbench; from workbench.paths import data_path, notebook_path; from workbench import load, generate\n"
        f"assert workbench.__file__.startswith({str(unpacked)!r}), workbench.__file__\n"
        "assert data_path('published_results.csv').exists() and notebook_path('03_probing.ipynb').exists()\n"
        f"assert str(data_path()).startswith({str(unpacked)!r})\n"
        "from workbench.family import shipped\n"
        "assert len(shipped()) >= 4\n"
        "print(generate(load('mini-bloomz'), ['Anna smiles. Is Anna happy?'], max_new_tokens=3)[0].text)"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(unpacked),
        "WORKBENCH_STORE": str(tmp_path / "store.sqlite"),
    }
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path)


def test_the_checkout_uses_its_own_data():
    from workbench.paths import data_path

    assert data_path() == ROOT / "data"


# The bounds of a shipped model.safetensors in bytes: 4 MB of float16 weights. On the mT5 side the file's header names
# twice as many tensors (encoder, decoder, a head of its own) and takes the file 2,920 bytes beyond.
LARGEST = {"bloom": 4_000_000, "mt5": 4_003_000}


def too_large(folder: Path) -> list[str]:
    """The checkpoints in a folder whose weights are larger than their side may be."""
    weights = sorted(folder.glob("*/model.safetensors"))
    sides = [json.loads((path.parent / "config.json").read_text())["model_type"] for path in weights]
    return [
        path.parent.name
        for path, side in zip(weights, sides, strict=True)
        if path.stat().st_size > LARGEST[side]
    ]


def test_eight_miniatures_ship_and_none_is_too_large():
    assert len(list((ROOT / "data/mini/models").glob("*/model.safetensors"))) == 8
    assert too_large(ROOT / "data/mini/models") == []


@pytest.mark.parametrize("side", LARGEST)
def test_twin_a_byte_more_is_too_large(side, tmp_path):
    for name, more in (("right", 0), ("wrong", 1)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": side}))
        with (tmp_path / name / "model.safetensors").open("wb") as file:
            file.truncate(LARGEST[side] + more)
    assert too_large(tmp_path) == ["wrong"]


def inconsistencies(project, pins, environment, workflow):
    """Where pyproject.toml, constraints.txt, environment.yml and the CI workflow do not say the same."""
    pinned = {
        canonicalize_name(line.split("==")[0]): line.split("==")[1]
        for line in pins.splitlines()
        if "==" in line
    }
    problems = [
        f"{line}: not NAME==VERSION"
        for line in pins.splitlines()
        if not re.fullmatch(r"#.*|[\w.-]+==[\d.a-z]+|", line)
    ]
    extras = project["optional-dependencies"].values()
    for requirement in map(
        Requirement, [*project["dependencies"], *(each for extra in extras for each in extra)]
    ):
        version = pinned.get(canonicalize_name(requirement.name))
        if version is None or version not in requirement.specifier:
            problems.append(f"{requirement}: pinned to {version}")
    python = re.search(r"- python=([\d.]+)", environment).group(1)
    if f"{python}.99" not in SpecifierSet(project["requires-python"]):  # conda takes the newest patch
        problems.append(f"environment.yml has python {python}")
    if re.search(r'python-version: "([\d.]+)"', workflow).group(1) != python:
        problems.append("the workflow has another python")
    lines = [line.strip(" -") for line in environment.splitlines()]
    problems += [
        f"environment.yml lacks {line}"
        for line in ("constraint constraints.txt", "editable .[dev]")
        if line not in lines
    ]
    return problems


def read_sources():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = ("constraints.txt", "environment.yml", ".github/workflows/ci.yml")
    return project, *((ROOT / name).read_text() for name in names)


def test_pins_ranges_conda_and_ci_say_the_same():
    assert inconsistencies(*read_sources()) == []


@pytest.mark.parametrize(
    ("place", "old", "new", "match"),
    [
        (1, "\npapermill==2.7.0", "", "papermill>=2.7: pinned to None"),
        (1, "transformers==5.23.0", "transformers==6.0.0", "transformers<5.24,>=5.23: pinned to 6.0.0"),
        (1, "torch==2.13.0", "torch==2.13.0+cpu", "not NAME==VERSION"),
        (2, "python=3.11", "python=3.10", "python 3.10"),
        (2, "constraint constraints.txt", "", "lacks constraint"),
        (3, '"3.11"', '"3.12"', "the workflow"),
    ],
)
def test_the_check_sees_what_does_not_fit(place, old, new, match):
    sources = list(read_sources())
    assert old in sources[place]
    sources[place] = sources[place].replace(old, new)
    assert any(match in problem for problem in inconsistencies(*sources)), inconsistencies(*sources)


ENVIRONMENTS = ("environment.yml", ".binder/environment.yml", ".devcontainer/devcontainer.json", "Dockerfile")
PUBLIC = {"download.pytorch.org", "mcr.microsoft.com"}


def disagreements(texts):
    """Where files that describe an environment name another Python, no CPU wheels, no pins, or a host that is not public."""
    found = [name for name, text in texts.items() if not re.search(r"python[=:]3\.11\b", text)]
    found += [name for name, text in texts.items() if "download.pytorch.org/whl/cpu" not in text]
    found += [
        name
        for name, text in texts.items()
        if not re.search(r"constraint [./]*constraints\.txt|make setup", text)
    ]
    hosts = {
        host
        for text in texts.values()
        for host in re.findall(r"\b((?:[a-z-]+\.)+(?:com|org|io|net))\b", text)
    }
    return found + sorted(hosts - PUBLIC - {"mybinder.org"})


def test_conda_binder_and_containers_take_the_same_python_and_the_pins_from_public_hosts():
    texts = {name: (ROOT / name).read_text() for name in ENVIRONMENTS}
    assert disagreements(texts) == []
    assert disagreements({**texts, "Dockerfile": "FROM registry.example.com/python:3.12"}) == [
        "Dockerfile"
    ] * 3 + ["registry.example.com"]


def make_steps(text):
    """The targets of make that a script or workflow asks for."""
    return set(re.findall(r"^\s*(?:- )?(?:run: )?make (?:--silent )?([\w-]+)", text, re.MULTILINE))


def test_the_workflow_runs_what_ci_runs_and_make_knows_each_step():
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    here = make_steps((ROOT / ".ci/run").read_text())
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert here == {"check", "docs", "test", "run", "verify"}
    assert here <= make_steps(workflow) <= set(targets)
    assert make_steps(workflow.replace("- run: make docs", "")) < make_steps(workflow)


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


def test_what_is_cited_is_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == workbench.__version__
    assert cited["references"][0]["identifiers"][0]["value"] == "arXiv:2211.01786"


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
    from workbench.studies.published_transfer import two_by_two
    from workbench.studies.within_task import ALL

    gaps = two_by_two(tasks=["xnli", "xcopa"]).gaps
    rows = gaps[gaps["task"] == ALL].set_index("what").round(1).to_dict("index")
    said = {name: "{gap} points [{low}, {high}]".format(**row) for name, row in rows.items()}
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"is better by {said['bloomz']} in languages it saw than in others" in readme
    assert f"by {said['mt0-xxl'].replace(' points', '')} (within task, XNLI and XCOPA" in readme
