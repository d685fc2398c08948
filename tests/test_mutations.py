"""300 random mutations of what the workbench reads: a right answer, or one sentence with the right exit code.

Nothing else may come of a damaged checkpoint, store, pack, template file, file of rows or notebook: no other exception, and
no other answer that passes for the old one. A fault is named by kind and seed; `ending(subject, seed)` repeats it.
"""

import json
import random

import pytest

from tests.mutant_texts import ROWS, TOML, Notebooks, Rows, Templates
from tests.mutant_weights import PROMPTS, Checkpoints, Lab, Packs, Stores
from tests.mutants import ending
from tests.test_bad_command_lines import complaints, ended
from workbench import runs
from workbench.prompts import Template
from workbench.runs import supervise
from workbench.runs.notebooks import Notebook

OF_WEIGHTS = {"checkpoint": Checkpoints, "store": Stores, "pack": Packs}
OF_TEXT = {"template": Templates, "rows": Rows, "notebook": Notebooks}
KINDS = [*OF_WEIGHTS, *OF_TEXT]
EACH, BY_COMMAND = 50, 4  # mutants of a kind, and how many of them through the command line too
pytestmark = pytest.mark.usefixtures("the_package_stands_still")


@pytest.fixture
def subject(request, tmp_path_factory, checkpoints, monkeypatch):
    """A valid thing of the kind asked for, to be changed; engines and digests are kept as in a process that runs for long."""
    place = tmp_path_factory.mktemp(request.param)
    monkeypatch.setattr("workbench.models.digests._COARSEST_CLOCK", -1)
    kind = request.param
    return OF_WEIGHTS[kind](Lab(place, checkpoints)) if kind in OF_WEIGHTS else OF_TEXT[kind](place)


@pytest.mark.parametrize("subject", KINDS, indirect=True)
@pytest.mark.parametrize("seeds", [range(EACH), pytest.param(range(EACH, 6 * EACH), marks=pytest.mark.soak)])
def test_a_mutant_ends_in_a_right_answer_or_in_one_sentence(subject, seeds):
    endings = [ending(subject, seed) for seed in seeds]
    assert not [str(end) for end in endings if end.fault]
    assert {"same", "refused"} <= {end.how for end in endings}  # both kinds of end are met


BROKEN = {
    "checkpoint": ("workbench.engines.transformers.loading.expect_same_tensors", lambda *_: None),
    "store": ("workbench.store.answers.is_intact", lambda *_: True),
    "pack": ("workbench.store.packs.damaged_rows", lambda *_, **__: iter(())),
    "template": (
        "workbench.prompts.rendering._template",
        lambda _, table, foreign: Template(**table, foreign=foreign),
    ),
    "rows": ("workbench.tasks.tables._object", dict),
    "notebook": (Notebook, "digest", "0"),
}


@pytest.mark.parametrize("subject", KINDS, indirect=True)
def test_a_reader_that_checks_less_is_found_out(subject, monkeypatch):
    """The twin: with one check gone, some mutant ends in a fault."""
    monkeypatch.setattr(*BROKEN[subject.kind])
    assert any(ending(subject, seed).fault for seed in range(EACH))


def words_for(subject, place, monkeypatch):
    """A command that reads the mutant; its store is the mutant's where there is one."""
    store, data, templates = place / "store.sqlite", place / "rows.jsonl", place / "own.toml"
    data.write_text("\n".join(json.dumps(row) for row in ROWS), encoding="utf-8")
    templates.write_text(TOML, encoding="utf-8")
    asks = ["--max-new-tokens", "6", "--device", "cpu", "--json"]
    words = ["evaluate", "mini-bloomz", "own", "--forecast"]
    if subject.kind in ("checkpoint", "store"):
        store = subject.lab.place / "mutant/store.sqlite"
        words = ["generate", str(subject.lab.folders[subject.side]), *PROMPTS, *asks]
    elif subject.kind == "pack":
        words = ["store", "import", str(subject.lab.place / "mutant/answers.pack")]
    elif subject.kind == "notebook":
        words = ["run", str(subject.path), "--root", str(place / "runs")]
    elif subject.kind == "rows":
        words += [f"--data={subject.path}", f"--templates={templates}"]
    else:
        words += [f"--data={data}", f"--templates={subject.path}"]
    monkeypatch.setenv("WORKBENCH_STORE", str(store))
    return words


@pytest.mark.parametrize("subject", KINDS, indirect=True)
def test_the_command_line_ends_as_the_room_does(subject, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(supervise, "run_plan", lambda *_, **__: supervise.Run(tmp_path, {"seconds": 0.0}))
    for seed in range(BY_COMMAND):
        end = ending(subject, seed)
        subject.mutant(random.Random(f"{subject.kind} {seed}"))
        code, said = ended(words_for(subject, tmp_path, monkeypatch), capfd)
        if code == 0 and subject.kind in ("checkpoint", "store") and end.how != "other":
            texts = [answer.text for answer in subject.lab.right[subject.side][0]]
            assert [answer["text"] for answer in json.loads(said.out)] == texts, end
        if code != 0:
            assert (said.out, list(complaints([], code, said))) == ("", []), (end, said.err)
            assert end.how != "same", (end, said.err)
        assert "a fault of workbench" not in said.err


@pytest.mark.parametrize("subject", ["notebook"], indirect=True)
def test_mutants_of_a_notebook_that_are_the_same_run_give_its_result(subject, tmp_path):
    """With real kernels: what was read and what is executed are the same."""
    alike = (seed for seed in range(EACH) if ending(subject, seed).how == "same")
    for seed in [next(alike), next(alike)]:
        subject.mutant(random.Random(f"notebook {seed}"))
        done = runs.run(subject.path, root=tmp_path / str(seed))
        assert done.metrics == {"value": 6, "language": "x-en"}
