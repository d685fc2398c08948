"""Laws of runs, with real kernels on tiny notebooks: nothing reports success that is not, nothing is lost."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from workbench import runs
from workbench.errors import BadInput, Incomplete, KernelDied, NotebookFailed, NotReachable, StoreFailed
from workbench.runs import fork_server, parameter_cell
from workbench.runs.claims import claimed
from workbench.runs.folders import finished, publish
from workbench.runs.manifests import Manifest
from workbench.runs.notebooks import read_notebook
from workbench.runs.parameters import check
from workbench.runs.plans import plan
from workbench.runs.report import _made_good
from workbench.runs.supervise import Supervision, run_plan, start_afresh

pytestmark = pytest.mark.usefixtures("the_package_stands_still")

GENEROUS = 180.0  # seconds for what is waited for, on a busy machine; less than SLEEPS sleeps
LEFT = """
import os, pathlib, subprocess, sys
child = subprocess.Popen(["sleep", "600"], env={}, start_new_session=True)
daemon = "import subprocess; print(subprocess.Popen(['sleep', '600'], stdout=2, start_new_session=True).pid)"
orphan = subprocess.run([sys.executable, "-c", daemon], stdout=subprocess.PIPE, text=True)
pathlib.Path(os.environ["WORKBENCH_RUN"], "left").write_text(f"{child.pid} {orphan.stdout}")
"""
SLEEPS = (
    LEFT
    + "import os, time, pathlib\npathlib.Path(os.environ['WORKBENCH_RUN'], 'pid').write_text(str(os.getpid()))\ntime.sleep(600)"
)
FIGURE = """
import pandas as pd
from workbench.figures import curves, show
from workbench.run_log import note, record
table = pd.DataFrame({"layer": [0, 1], "accuracy": [0.5, 0.7]})
show(curves(table, x="layer", y="accuracy", title="By layer"), table, name="layers", badge="SYNTHETIC", alt="It rises.")
record(accuracy=0.7, language=language)
note(store={"hits": 2, "misses": 1})
"""
MEMORY = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))\nmuch = bytearray(2**40)"
FULL = """
import resource, signal
from workbench.run_log import record
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
record(**{f"value_{number}": number for number in range(1000)})
"""
HANDLED = "def handler(shell, kind, value, traceback, tb_offset=None):\n    print('caught:', value)\nget_ipython().set_custom_exc((ValueError,), handler)"
ANSWER = 'from IPython.display import Markdown, display\ndisplay(Markdown(f"The answer is **{0.7:.1f}**."))'


def write(folder, name, *cells, parameters="x = 1"):
    tagged = [new_code_cell(parameters, metadata={"tags": ["parameters"]})] if parameters is not None else []
    cells = [cell if isinstance(cell, dict) else new_code_cell(cell) for cell in cells]
    notebook = new_notebook(cells=[new_markdown_cell(f"# The {name}"), *tagged, *cells])
    path = folder / f"{name}.ipynb"
    nbformat.write(notebook, path)
    return path


ALLOWED = {"tags": ["raises-exception"]}
FORKED = ("unreachable", "leaves", "memory", "full", "magic", "handled", "allowed", "both", "slow")


def odd(folder, name, *cells):
    """A notebook as other tools leave them: without outputs, counts, ids and metadata, with cells of every type."""
    path = write(folder, name, *cells)
    content = json.loads(path.read_text())
    for cell in content["cells"]:
        for key in ("outputs", "execution_count", "id"):
            cell.pop(key, None)
    attached = {"i.png": {"image/png": "iVBORw0KGgo="}}
    content["cells"] += [
        {"cell_type": "raw", "source": ["a", "b"], "metadata": None},
        {"cell_type": "code"},
        {"cell_type": "markdown", "source": "![i](attachment:i.png)", "attachments": attached},
    ]
    content |= {"metadata": {"kernelspec": None, "language_info": {"name": "Python"}}, "nbformat_minor": "x"}
    path.write_text(json.dumps(content), encoding="utf-8-sig")
    return path


def outcome(path, parameters=None, *, root, limit=None, start=start_afresh):
    try:
        return run_plan(plan(path, parameters), root=root, how=Supervision(limit, start))
    except Exception as error:  # noqa: BLE001  (the test looks at what it is)
        return error


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    """A working notebook, and one for every way to end badly."""
    folder = tmp_path_factory.mktemp("notebooks")
    once = "import os, signal, pathlib\nif not list(pathlib.Path(os.environ['WORKBENCH_RUN']).parent.glob('*.failed-1')):\n"
    return {
        "good": write(
            folder, "good", FIGURE, ANSWER, parameters='language = "x-en"  # a code\nseed: int = 3'
        ),
        "raises": write(folder, "raises", "y = 2", "1 / (x - 1)", "z = 3"),
        "unreachable": write(
            folder, "unreachable", "from workbench.errors import NotReachable\nraise NotReachable('no net')"
        ),
        "leaves": write(folder, "leaves", "import sys\nsys.exit(0)", "y = 2"),
        "killed": write(folder, "killed", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "y = 2"),
        "memory": write(folder, "memory", MEMORY),
        "full": write(folder, "full", FULL),
        "slow": write(folder, "slow", SLEEPS),
        "orphan": write(
            folder, "orphan", once + "    os.kill(os.getppid(), signal.SIGKILL)", parameters='mark = ""'
        ),
        "left": write(folder, "left", LEFT),
        "magic": write(folder, "magic", "%nope"),
        "handled": write(folder, "handled", HANDLED, "raise ValueError('odd')"),
        "allowed": odd(folder, "allowed", new_code_cell("1 / 0", metadata=ALLOWED), "y = 2"),
        "both": write(folder, "both", new_code_cell("1 / 0", metadata=ALLOWED), "{}['a']"),
        "bare": write(folder, "bare", "y = 2", parameters=None),
    }


@pytest.fixture(scope="module")
def ended(books, root, server_of_forks):
    """What became of each, all run side by side as a sweep would: some in interpreters of their own, some forked."""
    extra = {"good": {"parameters": {"language": "no"}}, "slow": {"limit": 20.0}}
    if fork_server.CAN_FORK:
        extra |= {name: {**extra.get(name, {}), "start": fork_server.start_forked} for name in FORKED}
    names = [name for name in books if name != "bare"]
    with ThreadPoolExecutor(3) as pool:
        pending = {
            name: pool.submit(outcome, books[name], root=root, **extra.get(name, {})) for name in names
        }
        return {name: future.result() for name, future in pending.items()}


def manifest_of(root, name):
    (path,) = root.glob(f"{name}/*.failed-1/run.json")
    return json.loads(path.read_text())


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid, seconds=GENEROUS):
    until = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.1)
    return not is_alive(pid)


def test_a_good_run_leaves_the_whole_folder_and_its_mark_last(ended):
    folder = ended["good"].folder
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names >= {
        "_SUCCESS", "run.json", "notebook.ipynb", "report.html", "metrics.json", "facts.json", "stdout.log", "stderr.log",
        "figures/layers.png", "figures/layers.csv", "figures/layers.json",
    }  # fmt: skip
    assert not list(folder.parent.glob(".*.part"))
    mark = (folder / "_SUCCESS").stat()
    assert mark.st_size == 0
    assert mark.st_mtime >= max(path.stat().st_mtime for path in folder.rglob("*") if path.is_file())


def test_the_manifest_says_what_ran_on_what_and_how_it_went(ended):
    manifest = ended["good"].manifest
    assert set(manifest) == {
        "format", "notebook", "notebook_path", "notebook_sha256", "parameters", "given", "run_id", "code_sha256",
        "data_sha256", "python", "packages", "models", "digests", "reads", "changed_meanwhile", "status", "exit_code", "error", "failed_before", "started", "ended",
        "allowed_errors", "seconds", "peak_memory_bytes", "threads", "seeds", "dtype", "git", "platform", "hardware", "facts", "answer", "files",
    }  # fmt: skip
    assert (manifest["status"], manifest["exit_code"], manifest["error"]) == ("done", 0, None)
    assert manifest["parameters"] == {"language": "no", "seed": 3}
    assert manifest["facts"] == {"store": {"hits": 2, "misses": 1}}
    assert manifest["answer"] == "The answer is **0.7**."
    assert manifest["peak_memory_bytes"] > 10e6
    assert "figures/layers.png" in manifest["files"]


def test_norwegian_stays_norwegian(ended):
    assert ended["good"].metrics == {"accuracy": 0.7, "language": "no"}


def test_the_executed_notebook_shows_the_figure_with_its_badge(ended):
    cells = read_notebook(ended["good"].folder / "notebook.ipynb").code
    (output,) = [out for cell in cells for out in cell["outputs"] if "image/png" in out.get("data", {})]
    assert output["metadata"]["workbench"]["badge"] == "SYNTHETIC"
    assert output["metadata"]["image/png"]["alt"] == "It rises."


def test_a_report_shows_its_figures_and_asks_nothing_of_the_network(ended):
    page = (ended["good"].folder / "report.html").read_text()
    assert 'src="data:image/png;base64,' in page
    assert 'alt="It rises."' in page
    assert not re.search(r"<script|<link|(src|href)=[\"']?(https?:)?//|@import|url\(", page)
    assert "default-src 'none'" in page


def test_a_run_does_not_wait_for_a_grammar_that_nothing_reads():
    """The twin: nbformat alone builds it, wherever the grammar is installed; and it can be had afterwards."""
    pytest.importorskip("rfc3987_syntax")
    told = "import sys\n{}\nprint('rfc3987_syntax' in sys.modules)\nimport rfc3987_syntax"
    for module, built in (("workbench.runs.child", "False"), ("nbformat", "True")):
        code = told.format(f"import {module}")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split() == [built], module


def test_a_cell_that_raises_is_named_with_its_source_and_traceback(ended, root):
    error = ended["raises"]
    assert type(error) is NotebookFailed
    assert error.exit_code == 1
    assert "In [3] raised ZeroDivisionError" in str(error)
    facts = manifest_of(root, "raises")["error"]
    assert (facts["cell"], facts["source"]) == (3, "1 / (x - 1)")
    assert "ZeroDivisionError" in facts["traceback"]
    assert "\x1b" not in facts["traceback"]


@pytest.mark.parametrize(
    ("name", "reason"), [("magic", "`%nope` not found"), ("handled", r"In \[3\] failed: caught: odd")]
)
def test_a_cell_that_fails_without_an_exception_is_named_with_what_it_printed(ended, root, name, reason):
    assert type(ended[name]) is NotebookFailed
    assert re.search(reason, str(ended[name]))
    assert manifest_of(root, name)["error"]["source"] in ("%nope", "raise ValueError('odd')")


def test_an_error_that_a_cell_is_tagged_for_is_recorded_and_fails_no_run(ended, root):
    """The notebook lacks metadata, outputs, counts and ids too, as those of other tools do. The twin raises twice."""
    manifest = ended["allowed"].manifest
    assert manifest["allowed_errors"] == [
        {"cell": 2, "type": "ZeroDivisionError", "message": "division by zero"}
    ]
    assert "papermill" not in (ended["allowed"].folder / "report.html").read_text()
    assert manifest_of(root, "both")["error"]["type"] == "KeyError"


def test_our_own_errors_keep_their_exit_code(ended, root):
    assert type(ended["unreachable"]) is NotReachable
    assert manifest_of(root, "unreachable")["exit_code"] == 5


def test_a_notebook_that_leaves_early_is_incomplete_although_papermill_is_content(ended, root):
    assert type(ended["leaves"]) is Incomplete
    assert manifest_of(root, "leaves")["exit_code"] == 6


def test_a_killed_kernel_is_a_death_and_no_success(ended, root):
    assert type(ended["killed"]) is KernelDied
    manifest = manifest_of(root, "killed")
    assert (manifest["status"], manifest["exit_code"]) == ("killed", 138)


def test_a_kernel_out_of_memory_fails_in_the_cell_that_asked_for_it(ended, root):
    assert type(ended["memory"]) is NotebookFailed
    assert manifest_of(root, "memory")["error"]["type"] == "MemoryError"


def test_results_that_the_disk_does_not_take_are_exit_code_7_and_no_success(ended, root):
    assert type(ended["full"]) is StoreFailed
    assert manifest_of(root, "full")["exit_code"] == 7


def test_a_run_over_its_time_is_ended_with_its_kernel(ended, root):
    assert type(ended["slow"]) is runs.TimeLimit
    assert manifest_of(root, "slow")["exit_code"] == 124
    (pid,) = root.glob("slow/*.failed-1/pid")
    assert gone(int(pid.read_text()))
    assert all(gone(int(each)) for each in pid.with_name("left").read_text().split())


def test_what_a_notebook_started_ends_with_it_even_in_a_session_of_its_own_or_orphaned(ended):
    left = (ended["left"].folder / "left").read_text().split()
    assert len(left) == 2
    assert all(gone(int(pid)) for pid in left)


def test_failed_runs_are_kept_and_none_is_marked_a_success(ended, books, root):
    kept = sorted(path.parent.name for path in root.glob("*/*.failed-1"))
    assert kept == sorted(name for name, result in ended.items() if isinstance(result, Exception))
    marks = list(root.glob("*/*/_SUCCESS"))
    assert {mark.parent for mark in marks} == {ended[name].folder for name in ("good", "allowed", "left")}
    assert {path.suffix for path in books["good"].parent.iterdir()} == {".ipynb"}, (
        "no socket is left where notebooks are"
    )


def test_a_killed_run_can_simply_be_run_again_even_when_the_clock_was_set_back(
    ended, books, root, monkeypatch
):
    """Time is taken from a clock that cannot be set; a failure counts as made good by what came after it, not by dates."""

    class SetBack(datetime):
        days = 0

        @classmethod
        def now(cls, zone=None):
            cls.days += 1
            return datetime.now(zone) - timedelta(days=cls.days)

    assert type(ended["orphan"]) is KernelDied
    monkeypatch.setattr("workbench.runs.supervise.datetime", SetBack)
    again = runs.run(books["orphan"], root=root)
    assert (again.folder / "_SUCCESS").exists()
    assert again.manifest["ended"] < again.manifest["started"]
    assert 0 < again.manifest["seconds"] < 600
    (failure,) = root.glob("orphan/*.failed-1")
    newest = {"orphan": (again.folder, Manifest.model_validate(again.manifest))}
    assert _made_good(failure, newest)
    assert not _made_good(failure.with_name(f"{again.run_id}.failed-2"), newest)


def test_a_folder_that_was_cut_off_or_changed_is_no_finished_run(ended, tmp_path):
    folder = ended["good"].folder
    assert finished(folder) == ended["good"].manifest

    def damaged(name, spoil):
        copy = tmp_path / name
        shutil.copytree(folder, copy)
        spoil(copy)
        return finished(copy)

    assert damaged("whole", lambda copy: None) is not None, "the twin"
    assert damaged("no-mark", lambda copy: (copy / "_SUCCESS").unlink()) is None
    assert damaged("no-figure", lambda copy: (copy / "figures/layers.png").unlink()) is None
    assert damaged("half-metrics", lambda copy: (copy / "metrics.json").write_text("{")) is None
    assert damaged("half-manifest", lambda copy: (copy / "run.json").write_text('{"files": {')) is None
    assert damaged("other-manifest", lambda copy: (copy / "run.json").write_text('{"format": 1}')) is None
    assert damaged("no-manifest", lambda copy: (copy / "run.json").unlink()) is None


def test_a_success_that_is_run_again_is_there_until_the_new_one_stands(tmp_path):
    """Ended between the two steps of putting the new one in place: the next claim puts the old one back."""
    final = tmp_path / "one"
    for folder in (final, tmp_path / ".one.1.part"):
        folder.mkdir()
        (folder / "metrics.json").write_text(folder.name)
    (final / "_SUCCESS").touch()
    final.rename(tmp_path / ".one.old")
    with claimed(tmp_path, "one") as again:
        assert (final / "metrics.json").read_text() == "one"
        assert not (tmp_path / ".one.1.part").exists()
        (again / "metrics.json").write_text("new")
        publish(again, final)
    assert (final / "metrics.json").read_text() == "new"
    assert (final / "_SUCCESS").exists()
    assert not (tmp_path / ".one.old").exists()


def test_the_same_run_again_does_nothing_and_says_so(ended, books, root):
    def refuse(_):
        raise AssertionError("a process was started")

    before = (ended["good"].folder / "run.json").stat().st_mtime_ns
    again = outcome(books["good"], {"language": "no", "seed": 3}, root=root, start=refuse)
    assert again.reused
    assert "already finished" in again.message
    with pytest.raises(AssertionError, match="was started"):  # the twin
        run_plan(plan(books["good"], {"seed": 4}), root=root / "other", how=Supervision(start=refuse))
    assert (again.folder / "run.json").stat().st_mtime_ns == before


def start(path, root):
    """Run the notebook under a process of its own; return that process and its kernel's id once a cell is busy."""
    code = (
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored below a shell's background job
        "import workbench.runs.run_id as identity\nidentity.tree_digest = lambda *_, **__: '0'\n"
        f"from workbench import runs\nruns.run({str(path)!r}, root={str(root)!r})"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    until = time.monotonic() + GENEROUS
    while not (written := [path for path in root.glob("slow/.*.part/pid") if path.read_text()]):
        assert time.monotonic() < until, "no kernel came up"
        assert parent.poll() is None
        time.sleep(0.05)
    return parent, int(written[0].read_text())


def test_a_run_killed_with_its_parent_leaves_no_kernel_and_no_success(books, tmp_path):
    """kill -9 of the process that supervises: the child notices, ends the kernel and itself."""
    parent, kernel = start(books["slow"], tmp_path)
    with pytest.raises(BadInput, match="another process is executing the run"):
        runs.run(books["slow"], root=tmp_path)
    parent.kill()
    parent.communicate()
    assert gone(kernel)
    (part,) = tmp_path.glob("slow/.*.part")
    assert all(gone(int(each)) for each in (part / "left").read_text().split())
    assert not (part / "_SUCCESS").exists()
    with pytest.raises(runs.TimeLimit):
        runs.run(books["slow"], root=tmp_path, limit=0.1)
    assert len(list(tmp_path.glob("slow/*.failed-*"))) == 2, (
        "what was cut off is kept apart from the next try"
    )


def test_an_interrupted_run_ends_its_processes_and_is_kept(books, tmp_path):
    parent, kernel = start(books["slow"], tmp_path)
    parent.send_signal(signal.SIGINT)
    _, told = parent.communicate(timeout=GENEROUS)
    assert b"KeyboardInterrupt" in told
    assert gone(kernel)
    assert manifest_of(tmp_path, "slow")["exit_code"] == 130


@pytest.mark.parametrize(
    "cells",
    [["print('x' * 900_000)", "y = 2"], ["print('&' * 200_000)"], []],
    ids=["notebook", "report", "folder"],
)
def test_a_full_disk_is_exit_code_7_and_no_success(tmp_path, cells):
    """A limit on the size of files stands in for the full disk: for the notebook, for its page; then a file is in the way."""
    if cells:
        limited = "import resource, sys\nresource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
        place = tmp_path / "runs"
    else:
        limited, place = "import sys\n", tmp_path / "odd.ipynb" / "runs"
    path = write(tmp_path, "odd", *cells)
    code = f"""{limited}from workbench import runs
try:
    runs.run({str(path)!r}, root={str(place)!r})
except runs.supervise.StoreFailed as error:
    print(error)
    sys.exit(error.exit_code)"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 7, ended.stderr
    assert "free some space" in ended.stdout or "too large" in ended.stdout
    assert not list(tmp_path.rglob("_SUCCESS"))


def test_the_index_is_one_page_with_every_figure_and_every_failure(ended, root):
    page = runs.write_index(root).read_text()
    assert page.count('src="data:image/png;base64,') == 1
    assert "The answer is <strong>0.7</strong>" in page
    assert "It rises." in page
    assert 'class="badge SYNTHETIC"' in page
    assert "ZeroDivisionError" in page
    assert not re.search(r"<script|<link|(src|href)=[\"']?(https?:)?//|@import|url\(", page)
    for link in re.findall(r'href="([^"#]+)"', page):
        assert (root / unquote(link)).exists(), link


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="name another folder"):
        runs.write_index(tmp_path / "file" / "runs")


# Before any kernel starts ---------------------------------------------------------------------------------------


def refused(path, values, root, match):
    with pytest.raises(BadInput, match=match):
        runs.run(path, values, root=root)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"langauge": "no"}, "did you mean language"),
        ({"seed": "3"}, r"seed: got '3'.*integer.*default is 3"),
        ({"seed": True}, "seed: got True"),
        ({"language": False}, "language: got False"),
        ({"language": {"a", "b"}}, "must be strings"),
        ({"seed": float("nan")}, "finite"),
        ({"hf_token": "x"}, "looks like a secret"),
        ({"language": "hf_" + "a" * 34}, "looks like a secret"),
        ({"language": ["x", {"y": "hf_" + "a" * 34}]}, "looks like a secret"),
    ],
)
def test_bad_parameters_are_refused_before_anything_is_written(books, tmp_path, values, match):
    refused(books["good"], values, tmp_path, match)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        (None, "no cells tagged 'parameters'"),
        ('api_key = ""', "looks like a secret"),
        ("x = [1", "not Python"),
        ("import os\nx = 1", "line 1.*'import os'"),
        ("x = len('a')", "line 1"),
        ("x = {[]: 1}", "line 1"),
        ("SIZES = 1\nx: Literal[SIZES] = 1", "line 2"),
    ],
)
def test_a_notebook_whose_parameters_cannot_be_checked_is_refused(tmp_path, parameters, match):
    refused(write(tmp_path, "odd", "y = 1", parameters=parameters), {}, tmp_path / "runs", match)


def cells_of(*cells, **content):
    return json.dumps({"nbformat": 4, "cells": cells, **content})


@pytest.mark.parametrize(
    "content",
    [
        None, "not json", "[1]", '{"nbformat": 3, "cells": []}', '{"nbformat": 4}', "[" * 100_000, cells_of(7),
        cells_of({"cell_type": "prose"}), cells_of({"cell_type": "code", "source": 7}), cells_of({"cell_type": "code", "source": ["x\n", 7]}), cells_of(metadata=[1]),
        cells_of({"cell_type": "code", "metadata": {"tags": 7}}), cells_of({"cell_type": "code", "outputs": [7]}),
        cells_of(metadata={"kernelspec": "python3"}), cells_of({"cell_type": "code", "source": "'\ud83d'"}),
        cells_of(metadata={"kernelspec": {"language": "R"}}), cells_of(metadata={"language_info": {"name": "julia"}}),
    ],
)  # fmt: skip
def test_what_is_no_notebook_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "odd.ipynb").write_text(content)
    refused(tmp_path / "odd.ipynb", {}, tmp_path / "runs", "odd.ipynb")


TYPED = 'language: str = "x-en"\nlanguages: list[str] = ["x-en"]\nseed: int = 1\nrate = 0.5\nfull: bool = True\nmodel: str | None = None\nsizes = [1]\nparts: dict = {}'


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("language", "no", "no"), ("language", "0123", "0123"), ("language", "1e5", "1e5"), ("language", "12:30", "12:30"),
        ("languages", "en,no", ["en", "no"]), ("languages", '["en", "no"]', ["en", "no"]), ("languages", "no", ["no"]),
        ("seed", "7", 7), ("rate", "1e-3", 0.001), ("rate", "2", 2), ("full", "false", False), ("model", "none", None),
        ("model", "mini-bloomz", "mini-bloomz"), ("sizes", "1,2", [1, 2]),
    ],
)  # fmt: skip
def test_a_command_lines_text_is_read_by_the_declared_type(tmp_path, name, text, value):
    notebook = runs.read_notebook(write(tmp_path, "typed", "y = 1", parameters=TYPED))
    given = runs.parse(notebook, {name: text})
    assert given == {name: value}
    assert check(notebook, given)[1] == {name: value}


@pytest.mark.parametrize(
    ("name", "text"), [("seed", "1.5"), ("seed", "true"), ("full", "no"), ("full", "1"), ("sizes", "1,x")]
)
def test_text_of_another_type_is_refused(tmp_path, name, text):
    notebook = runs.read_notebook(write(tmp_path, "typed", "y = 1", parameters=TYPED))
    with pytest.raises(BadInput, match=f"parameter {name}"):
        check(notebook, runs.parse(notebook, {name: text}))


def test_counting_tokens_is_no_secret(tmp_path):
    notebook = read_notebook(write(tmp_path, "typed", "y = 1", parameters="max_new_tokens = 20"))
    assert check(notebook, {"max_new_tokens": 5})[0] == {"max_new_tokens": 5}


def test_a_path_is_made_absolute_from_where_the_caller_stands(tmp_path, monkeypatch):
    notebook = read_notebook(write(tmp_path, "typed", "y = 1", parameters=TYPED))
    (tmp_path / "models" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert check(notebook, {"model": "models/mine"})[0]["model"] == str(tmp_path / "models" / "mine")
    assert check(notebook, {"model": "./models"})[0]["model"] == str(tmp_path / "models")
    assert check(notebook, {"language": "./elsewhere"})[0]["language"] == "./elsewhere", "text stays text"
    assert check(notebook, {"model": "bigscience/bloomz"})[0]["model"] == "bigscience/bloomz"


def test_everything_that_can_change_a_result_changes_the_run_id(tmp_path, monkeypatch):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("one")
    cell = 'model = "mini-bloomz"\nseed = 0\nrows = ""\nsources: dict = {}'
    path = write(tmp_path, "typed", "y = 1", parameters=cell)

    def id_of(parameters=None, path=path):
        return plan(path, {"sources": {"first": ["", str(rows)]}, **(parameters or {})}).run_id

    same = id_of()
    others = [id_of({"seed": 1}), id_of(path=write(tmp_path, "other", "y = 2", parameters=cell))]
    for place, value in (
        ("run_id.package_versions", lambda: {"torch": "0"}),
        ("plans.digest_of", lambda name, **_: "retrained"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"workbench.runs.{place}", value)
            others.append(id_of())
    assert id_of() == same, "the twin: nothing changed, nothing changes"
    rows.write_text("two")
    assert len({same, id_of(), *others}) == len(others) + 2


# Committed notebooks ---------------------------------------------------------------------------------------------


def test_a_committed_copy_is_clean_and_is_known_from_one_that_was_edited(tmp_path):
    noise = 'import os, sys\nprint("a", flush=True)\nprint("at", os.environ["WORKBENCH_RUN"])\nprint("warned", file=sys.stderr)\nprint(object())\nos.getcwd()'
    styled = "import pandas as pd\npd.DataFrame({'a': [1]}).style.hide(axis='index')"
    hidden = new_code_cell(styled, metadata={"jupyter": {"source_hidden": True}, "collapsed": False})
    path = runs.execute_committed(write(tmp_path, "mine", noise, hidden))
    assert runs.check_committed(path) == []
    assert read_notebook(path).code[-1]["metadata"] == {"jupyter": {"source_hidden": True}}
    text = path.read_text()
    assert runs.execute_committed(path).read_text() == text, "chance is taken out"
    assert "papermill" not in text
    assert "stderr" not in {
        output.get("name") for cell in read_notebook(path).code for output in cell["outputs"]
    }
    assert str(tmp_path) not in text
    assert not re.search(r"\d{4}-\d\d-\d\dT", text)
    nbformat.validate(nbformat.read(path, as_version=4))
    path.write_text(text.replace("os.getcwd()", "os.getcwd() * 2"))
    assert "is not what was executed" in runs.check_committed(path)[0]
    path.write_text(text.replace('"a\\n', f'"{os.sep}home/me\\n'))
    assert "path of some machine" in runs.check_committed(path)[0]


def test_a_run_reads_its_notebook_once_builds_its_schema_once_and_stamps_the_package_once(
    books, tmp_path, monkeypatch
):
    """The notebook was read three times, its schema built three times and the package stamped twice."""
    counts = Counter()

    def counted(place):
        module, name = place.rsplit(".", 1)
        original = getattr(import_module(module), name)

        def call(*given, **options):
            counts[name] += 1
            return original(*given, **options)

        return call

    for place in (
        "workbench.runs.notebooks.read_notebook",
        "workbench.runs.plans.read_notebook",
        "workbench.runs.parameter_cell.create_model",
        "workbench.runs.plans.stamp",
        "workbench.runs.plans.ground",
    ):
        monkeypatch.setattr(place, counted(place))
    command_run = import_module("workbench.cli.run")
    parameter_cell._declared.cache_clear()
    context = SimpleNamespace(args=["-p", "seed", "4"])
    command_run.run(context, str(books["good"]), root=tmp_path)
    assert counts == {"read_notebook": 1, "create_model": 1, "stamp": 1, "ground": 1}


def test_what_runs_is_what_was_planned_even_if_the_notebook_changes(tmp_path):
    path = write(tmp_path, "edited", "from workbench import record\nrecord(version=1)")
    planned = plan(path)
    write(tmp_path, "edited", "from workbench import record\nrecord(version=2)")
    assert run_plan(planned, root=tmp_path / "runs").metrics == {"version": 1}
    assert runs.run(path, root=tmp_path / "runs").metrics == {"version": 2}
