"""Laws of sweeps: what a file asks for, that runs share a warm parent and nothing else, and that they go on."""

import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import Future

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from workbench import runs
from workbench.errors import BadInput, KernelDied
from workbench.runs.leases import leased
from workbench.runs.local import LocalProcesses
from workbench.runs.plans import plan_all
from workbench.runs.sweeps import SweepFile, plan_sweep, read_sweep

pytestmark = pytest.mark.usefixtures("the_package_stands_still")

BODY = """
import os, signal, sys
import pandas as pd
from workbench.run_log import keep_table, record
if seed == 1: raise ValueError("an odd one")
if seed == 2: os.kill(os.getpid(), signal.SIGKILL)
if seed == 3: sys.exit(0)
left_by_others = [name for name in globals() if name.startswith("mark_")]
globals()[f"mark_{seed}"] = True
record(value=seed * 1.5, others=len(left_by_others), warm="workbench.runs.nursery" in sys.modules or "papermill" in sys.modules)
keep_table(pd.DataFrame({"item": ["a", "b"], "seed": [seed, seed]}))
"""


def write(folder, *, body=BODY, parameters="seed: int = 0\nlanguage: str = 'no'"):
    cells = [
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        *map(new_code_cell, body.split("---\n")),
    ]
    nbformat.write(new_notebook(cells=cells), folder / "swept.ipynb")
    return folder / "swept.ipynb"


def write_sweep(folder, text, name="mine.toml"):
    (folder / name).write_text(text)
    return folder / name


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    write(folder)
    return folder


@pytest.fixture(scope="module")
def swept(place):
    """A sweep of seven runs, of which three end badly, each in its own way."""
    file = write_sweep(
        place, 'notebook = "swept.ipynb"\nworkers = 3\n[product]\nseed = [0, 1, 2, 3, 4, 5, 6]\n'
    )
    return runs.sweep(file, root=place / "runs", keep_going=True)


# What a file asks for ------------------------------------------------------------------------------------------------


def combinations(**content):
    return list(SweepFile.model_validate({"notebook": "x", **content}).combinations())


def test_every_case_meets_every_combination():
    found = combinations(
        parameters={"limit": 8},
        cases=[{"model": "a"}, {"model": "b"}],
        product={"seed": [0, 1], "language": ["no", "x-en"]},
    )
    assert len(found) == len({json.dumps(each) for each in found}) == 8
    assert found[0] == {"limit": 8, "model": "a", "seed": 0, "language": "no"}
    assert combinations() == [{}]


def test_toml_and_json_say_the_same_and_norwegian_stays_norwegian(tmp_path):
    toml = write_sweep(tmp_path, 'notebook = "x"\n[product]\nlanguage = ["no", "on"]\nlanguages = [["no"]]')
    content = {"notebook": "x", "product": {"language": ["no", "on"], "languages": [["no"]]}}
    other = write_sweep(tmp_path, json.dumps(content), "mine.json")
    assert read_sweep(toml) == read_sweep(other)
    assert read_sweep(toml)[1].product["language"] == ["no", "on"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('notebook = "x"\nproducts = 1', "products.*may say: notebook"),
        ("notebook = [", "not TOML"),
        ('notebook = "x"\nworkers = "2"', "workers"),
        ('notebook = "x"\n[product]\nseed = []', "product.seed"),
        ("", "notebook"),
        ("x = " + "[" * 5_000, "not TOML"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(tmp_path, text, match):
    with pytest.raises(BadInput, match=match):
        read_sweep(write_sweep(tmp_path, text))


def test_a_byte_order_mark_changes_nothing_and_a_name_that_stands_twice_is_refused(tmp_path):
    content = '{"notebook": "x", "product": {"seed": [1]}}'
    (tmp_path / "mine.json").write_text(content, encoding="utf-8-sig")
    (tmp_path / "mine.toml").write_text('notebook = "x"\n[product]\nseed = [1]', encoding="utf-8-sig")
    assert read_sweep(tmp_path / "mine.json") == read_sweep(tmp_path / "mine.toml")
    twice = write_sweep(tmp_path, content.replace("[1]", '[1], "seed": [2]'), "twice.json")
    with pytest.raises(BadInput, match="'seed' stands twice"):
        read_sweep(twice)


def test_whatever_an_executor_raises_stands_in_sweep_json(tmp_path):
    """Cases that stand twice are one run."""

    class Broken:
        def submit(self, task):
            future = Future()
            future.set_running_or_notify_cancel()
            future.set_exception(MemoryError("no memory to fork"))
            return future

    write(tmp_path, body="x = 1")
    file = write_sweep(tmp_path, 'notebook = "swept.ipynb"\n[[cases]]\nseed = 1\n[[cases]]\nseed = 1\n')
    done = runs.sweep(file, root=tmp_path / "runs", executor=Broken())
    assert done.exit_code == 70
    (run,) = json.loads((done.folder / "sweep.json").read_text())["runs"]
    assert (run["state"], run["exit_code"]) == ("failed", 70)
    assert "MemoryError: no memory to fork" in run["message"]


def test_a_parameter_in_two_places_is_refused():
    with pytest.raises(BadInput, match="seed: given in two places"):
        combinations(parameters={"seed": 1}, product={"seed": [1, 2]})


def test_nothing_starts_if_one_run_has_a_wrong_parameter(place, tmp_path):
    file = write_sweep(place, 'notebook = "swept.ipynb"\n[product]\nseed = [0, "1"]\n', "wrong.toml")
    with pytest.raises(BadInput, match="seed: got '1'"):
        runs.sweep(file, root=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_runs_of_the_same_models_stand_together_and_equal_runs_once(tmp_path):
    write(tmp_path, body="x = 1", parameters='model: str = "mini-bloomz"\nseed: int = 0')
    text = 'notebook = "swept.ipynb"\n[product]\nseed = [0, 1, 1]\nmodel = ["mini-bloomz", "mini-mt0"]\n'
    _, _, plans = plan_sweep(write_sweep(tmp_path, text))
    assert [plan.models for plan in plans] == [("mini-bloomz",)] * 2 + [("mini-mt0",)] * 2
    assert len({plan.run_id for plan in plans}) == 4


def test_a_notebook_that_changed_after_planning_is_refused(tmp_path):
    path = write(tmp_path, body="x = 1")
    (planned,) = plan_all(path, [{}])
    planned.still_holds()
    write(tmp_path, body="x = 2")
    with pytest.raises(BadInput, match="changed while"):
        planned.still_holds()


# What comes of it -----------------------------------------------------------------------------------------------------


def test_each_run_ends_in_its_own_way_and_takes_no_other_with_it(swept):
    codes = {ending.run_id.rsplit("-", 1)[0]: ending.exit_code for ending in swept.endings}
    good = dict.fromkeys(["default", "seed-4", "seed-5", "seed-6"], 0)
    assert codes == {**good, "seed-1": 1, "seed-2": 138, "seed-3": 6}
    assert swept.exit_code == 138


def test_runs_fork_from_a_warm_parent_and_find_nothing_that_another_left(swept):
    table = runs.read(swept.folder)
    assert table["warm"].all()
    assert (table["others"] == 0).all()
    assert sorted(table["value"]) == [0.0, 6.0, 7.5, 9.0]


def test_a_sweeps_table_has_a_row_per_finished_run_and_can_be_read_in_three_places(swept, place):
    table = runs.read(swept.folder)
    assert list(table["seed"]) == [0, 4, 5, 6], "in the order of the file"
    assert set(table["language"]) == {"no"}
    pd.testing.assert_frame_equal(pd.read_parquet(swept.folder / "runs.parquet"), table)
    by_id = runs.read(place / "runs").sort_values("run_id", ignore_index=True)
    pd.testing.assert_frame_equal(by_id, table.sort_values("run_id", ignore_index=True))
    kept = runs.read(swept.folder, table="results")
    assert len(kept) == 8
    assert {"item", "seed", "run_id", "language"} <= set(kept.columns)
    with pytest.raises(BadInput, match="kept no table 'other'; it kept: results"):
        runs.read(swept.folder, table="other")


def test_sweep_json_tells_what_became_of_each_run(swept):
    content = json.loads((swept.folder / "sweep.json").read_text())
    assert content["counts"] == {"done": 4, "failed": 3}
    assert content["exit_code"] == 138
    failed = [run for run in content["runs"] if run["state"] == "failed"]
    assert any("an odd one" in run["message"] for run in failed)
    for run in content["runs"]:
        assert (swept.folder / run["folder"] / "_SUCCESS").exists() == (run["state"] == "done")


def test_a_sweep_of_which_nothing_succeeds_prints_an_empty_table_and_the_exit_code_of_its_runs(tmp_path):
    write(tmp_path, body="raise ValueError('odd')")
    file = write_sweep(tmp_path, 'notebook = "swept.ipynb"')
    command = [
        sys.executable,
        "-m",
        "workbench.cli",
        "sweep",
        str(file),
        "--json",
        "--root",
        str(tmp_path / "runs"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, json.loads(done.stdout)) == (1, []), done.stderr
    assert "odd" in done.stderr


def test_the_page_of_a_sweep_stands_alone_and_its_links_lead_somewhere(swept):
    page = (swept.folder / "index.html").read_text()
    assert not re.search(r"<script|<link|(src|href)=[\"']?(https?:)?//|@import|url\(", page)
    for link in re.findall(r'href="([^"#]+)"', page):
        assert (swept.folder / link).exists(), link
    assert page.count("<circle") == 4
    assert "by seed" in page
    assert 'role="img" aria-label="value of 4 runs, from 0 to 9"' in page
    assert "an odd one" in page


def test_the_same_sweep_again_repeats_nothing_that_is_done(swept, place):
    before = {path: path.stat().st_mtime_ns for path in (place / "runs/swept").glob("[!.]*/run.json")}
    asked = []

    class Nowhere:
        def submit(self, task):
            asked.append(task.plan.given["seed"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runs.sweep(place / "mine.toml", root=place / "runs", executor=Nowhere())
    assert asked == [1], "the first that failed; what is done is not asked for"
    assert before == {path: path.stat().st_mtime_ns for path in (place / "runs/swept").glob("[!.]*/run.json")}
    content = json.loads((swept.folder / "sweep.json").read_text())
    assert content["counts"] == {"there": 4, "waits": 3}


# Where runs go ---------------------------------------------------------------------------------------------------------


def test_an_executor_takes_any_function_and_a_process_that_dies_takes_no_other_with_it():
    with LocalProcesses(2) as executor:
        good = executor.submit(pow, 2, 5)
        bad = executor.submit(os._exit, 3)
        also = executor.submit(os.getpid)
        assert good.result(60) == 32
        with pytest.raises(KernelDied):
            bad.result(60)
        assert also.result(60) != os.getpid()


def test_an_exception_drops_what_waits_and_interrupts_what_runs():
    """As Ctrl-C in `workbench verify`, which waited for every run to end."""
    tasks = []

    def interrupted():
        with LocalProcesses(1) as executor:
            tasks.extend([executor.submit(time.sleep, 100), executor.submit(os.getpid)])
            while not tasks[0].running():
                time.sleep(0.05)
            time.sleep(1)
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    running, waiting = tasks
    assert time.monotonic() - began < 60
    assert waiting.cancelled()
    with pytest.raises(KernelDied):
        running.result(0)


def test_a_task_that_waited_for_a_gpu_does_not_begin_after_an_interrupt(tmp_path, monkeypatch):
    """It took the lease that the interrupted one let go, and ran to its end in a new warm parent."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("workbench.runs.local.visible_gpus", lambda: ["0"])
    executor = LocalProcesses(2)
    with leased(["0"], 1):
        tasks = [executor.submit((tmp_path / name).touch) for name in ("first", "second")]
        while not all(task.running() for task in tasks):
            time.sleep(0.05)
        executor.shutdown(wait=False, cancel_futures=True)
    executor.shutdown()
    for task in tasks:
        with pytest.raises(KernelDied, match="before it began"):
            task.result(0)
    assert not (tmp_path / "first").exists()


def test_a_leased_gpu_is_given_to_one_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    with leased(["0", "1"], 1) as first, leased(["0", "1"], 1) as second:
        assert {first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]} == {"0", "1"}
        lease = "from workbench.runs.leases import leased\nimport tempfile, sys\ntempfile.gettempdir = lambda: sys.argv[1]\nwith leased(['0', '1'], 1) as third: print(third)"
        other = subprocess.Popen(
            [sys.executable, "-c", lease, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        time.sleep(1.5)
        assert other.poll() is None, "a third waits"
    assert "CUDA_VISIBLE_DEVICES" in other.communicate(timeout=60)[0]


def test_without_gpus_there_is_nothing_to_lease_and_too_many_are_refused():
    with leased([], 1) as environment:
        assert environment == {}
    with pytest.raises(BadInput, match="3 GPUs for each run, but there are 2"), leased(["0", "1"], 3):
        pass


SHARE = """
import os, sys
from workbench import generate, load
from workbench.engines.transformers import engine, loading
from workbench.runs.forking import Forked
from workbench.runs.nursery import share_weights
import torch
share_weights([sys.argv[1], "no-such-model"])
read = engine.read_weights
def refuse(*_): raise AssertionError("weights were read again")
engine.read_weights = refuse
def work():
    torch.set_num_threads(2)
    torch.ones(2000, 2000) @ torch.ones(2000, 2000)  # needs OpenMP's threads, which do not survive a fork
    print(generate(load(sys.argv[1]), ["The cat sat."], max_new_tokens=3)[0].text)
    try: load(sys.argv[1], dtype="bfloat16").engine
    except AssertionError as error: print(error)
sys.stdout.flush()
assert Forked(work, (0, 1, 2)).wait(100) == 0
engine.read_weights = read
print(generate(load(sys.argv[1]), ["The cat sat."], max_new_tokens=3)[0].text)
"""


@pytest.mark.parametrize("side", ["bloom", "mt5"])
def test_weights_read_before_a_fork_are_used_after_it_and_others_are_not(checkpoints, tmp_path, side):
    environment = {**os.environ, "WORKBENCH_STORE": str(tmp_path / "store.sqlite"), "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", SHARE, str(checkpoints[side])]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    forked, other_dtype, here = done.stdout.strip("\n").split("\n")
    assert forked == here
    assert other_dtype == "weights were read again"


FORK = """
import subprocess, sys
from workbench.runs import nursery
from workbench.runs.forking import Forked
if sys.argv[1] == "limits too early":  # before torch is there, so that nothing is limited
    nursery.import_module = lambda name: None
nursery.share_weights(["mini-mt0"])  # casts weights, in the main thread too
def work():
    import torch
    torch.ones(4_000_000).exp()
if sys.argv[1] == "computes": work()
process = Forked(work, (0, 1, 2))
try:
    print("ended", process.wait(60 if sys.argv[1] == "reads" else 8))
except subprocess.TimeoutExpired:
    process.kill()
    print("hangs")
"""


@pytest.mark.parametrize(
    ("parent", "fork"), [("reads", "ended 0"), ("limits too early", "hangs"), ("computes", "hangs")]
)
def test_a_fork_computes_with_several_threads_unless_its_parent_did_before(parent, fork):
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", FORK, parent], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.stdout.strip() == fork, done.stderr


@pytest.mark.parametrize("name", ["...toml", ".toml", "..json", f"{'n' * 230}.toml"])
def test_a_sweep_whose_name_leads_to_another_folder_is_refused(tmp_path, name):
    """`...toml` has the name `..`: its page went into the root of all runs."""
    file = write_sweep(tmp_path, 'notebook = "03_probing"', name)
    with pytest.raises(BadInput, match="cannot be the name of a file"):
        runs.sweep(file, root=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
