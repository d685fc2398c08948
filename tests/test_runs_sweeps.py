"""Laws of sweeps: what a file asks for, that runs share a model service and nothing else, and that they go on."""

import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path
from threading import Barrier

import nbformat
import pandas as pd
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from workbench import runs
from workbench.errors import BadInput
from workbench.runs.bundles import Bundle
from workbench.runs.executors import ThisMachine
from workbench.runs.machine import cores
from workbench.runs.plans import plan_all
from workbench.runs.sweep_file import Part, SweepFile, bundled, plan_sweep, read_part, read_sweep
from workbench.store import Store

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
record(value=seed * 1.5, others=len(left_by_others), forked="papermill" in sys.modules, torch="torch" in sys.modules)
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


@pytest.mark.parametrize("breaks", ["at once", "on the way"])
def test_whatever_an_executor_raises_stands_in_sweep_json(tmp_path, breaks):
    """An exception of another class than ours made `sweep` raise, and nothing was kept. Cases that stand twice are one run."""

    class Broken:
        def submit(self, call, bundle):
            if breaks == "on the way":
                bundle.state.parent.mkdir()
                bundle.state.write_text(json.dumps({"where": "there", "running": [bundle.plans[1].run_id]}))
            future = Future()
            future.set_exception(MemoryError("no memory to fork"))
            return future

    write(tmp_path, body="x = 1")
    cases = "".join(f"[[cases]]\nseed = {seed}\n" for seed in (1, 1, 2))
    file = write_sweep(tmp_path, f'notebook = "swept.ipynb"\n{cases}')
    done = runs.sweep(file, root=tmp_path / "runs", executor=Broken())
    assert done.exit_code == 70
    found = json.loads((done.folder / "sweep.json").read_text())["runs"]
    states = [run["state"] for run in found]
    assert states == (["failed", "failed"] if breaks == "at once" else ["waits", "failed"])
    assert "MemoryError: no memory to fork" in found[1]["message"]


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


def test_runs_are_forked_without_torch_and_find_nothing_that_another_left(swept):
    table = runs.read(swept.folder)
    assert table["forked"].all()
    assert not table["torch"].any()
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
    *changes, last = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, last["runs"], last["counts"]) == (1, [], {"failed": 1}), done.stderr
    assert [change["state"] for change in changes][-1] == "failed"
    assert "odd" in done.stderr


def test_the_page_of_a_sweep_stands_alone_and_its_links_lead_somewhere(swept):
    page = (swept.folder / "index.html").read_text()
    assert not re.search(r"<script|<link|(src|href)=[\"']?(https?:)?//|@import|url\(", page)
    for link in re.findall(r'href="([^"#]+)"', page):
        assert (swept.folder / link).exists(), link
    assert page.count('class="dot"') == 4
    assert page.count('class="mean"') == 1
    assert "by seed" in page
    assert "5.625 (0 to 9)" in page  # the numbers of the chart, for who does not see it
    assert "an odd one" in page


def test_the_same_sweep_again_repeats_nothing_that_is_done(swept, place):
    before = {path: path.stat().st_mtime_ns for path in (place / "runs/swept").glob("[!.]*/run.json")}
    asked = []

    class Nowhere:
        def submit(self, call, bundle):
            asked.extend(plan.given["seed"] for plan in bundle.plans)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runs.sweep(place / "mine.toml", root=place / "runs", executor=Nowhere())
    assert asked == [1, 2, 3], "those that failed; what is done is not asked for"
    assert before == {path: path.stat().st_mtime_ns for path in (place / "runs/swept").glob("[!.]*/run.json")}
    content = json.loads((swept.folder / "sweep.json").read_text())
    assert content["counts"] == {"there": 4, "waits": 3}


def test_a_sweep_killed_on_the_way_leaves_no_process_and_goes_on(tmp_path):
    """The twin of the kills in `make soak`: what was finished is neither lost nor repeated."""
    write(tmp_path, body="import time\ntime.sleep(2 * (seed > 0))\nopen('ledger', 'a').write(f'{seed}\\n')")
    write_sweep(tmp_path, 'notebook = "swept.ipynb"\nworkers = 2\n[product]\nseed = [0, 1, 2, 3]')
    command = [sys.executable, "-m", "workbench.cli", "sweep", "mine.toml"]
    sweep = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    while not (done := list(tmp_path.glob("runs/swept/*/_SUCCESS"))):
        time.sleep(0.05)
    below = psutil.Process(sweep.pid).children(recursive=True)
    sweep.kill()
    sweep.communicate()
    assert len(below) > 4, "the bundle, its service, the server of forks, a run"
    assert psutil.wait_procs(below, timeout=180)[1] == []
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    counts = json.loads((tmp_path / "runs/sweeps/mine/sweep.json").read_text())["counts"]
    assert counts["there"] >= len(done)
    ledger = (tmp_path / "ledger").read_text().split()
    assert set(ledger) == {"0", "1", "2", "3"}
    for path in done:
        seed = json.loads(path.with_name("run.json").read_text())["parameters"]["seed"]
        assert ledger.count(str(seed)) == 1, "a finished run is not repeated"


# Where runs go ---------------------------------------------------------------------------------------------------------


def test_each_gpu_does_one_bundle_at_a_time_and_sees_no_other(tmp_path, monkeypatch, place):
    monkeypatch.setattr("workbench.runs.executors.visible_gpus", lambda: ["0", "1", "3"])
    _, _, plans = plan_sweep(write_sweep(place, 'notebook = "swept.ipynb"', "one.toml"))
    bundle = Bundle("one", tuple(plans), tmp_path, tmp_path / "state.json")
    both = Barrier(2, timeout=120)  # is passed only if two run at once

    def seen(bundle):
        both.wait()
        return bundle.environment["CUDA_VISIBLE_DEVICES"]

    with ThisMachine(1) as executor:
        assert len(executor.groups) == 3
    with ThisMachine(2) as executor:
        assert executor.groups == [["0", "1"]]
        assert executor.submit(lambda given: given.environment, bundle).result(120) == {
            "CUDA_VISIBLE_DEVICES": "0,1"
        }
    monkeypatch.setattr("workbench.runs.executors.visible_gpus", lambda: ["0", "1"])
    with ThisMachine(1) as executor:
        assert {task.result(180) for task in [executor.submit(seen, bundle) for _ in range(2)]} == {"0", "1"}
    with pytest.raises(BadInput, match="3 GPUs for each job, but there are 2"):
        ThisMachine(3)


def test_cores_are_those_of_the_allocation(monkeypatch):
    assert cores() == len(os.sched_getaffinity(0)), "the twin: without a limit"
    limited = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); from workbench.runs.machine import cores; print(cores())"
    assert subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True).stdout == "1\n"
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "64")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert cores() == 1


@pytest.mark.parametrize("on", ["nowhere", "dask:", "slurm:8"])
def test_a_place_that_does_not_exist_is_refused(place, tmp_path, on):
    with pytest.raises(BadInput, match="choose one of: local, dask:ADDRESS, slurm"):
        runs.sweep(place / "mine.toml", root=tmp_path / "runs", on=on)


MODELS = """
from workbench import generate, load
from workbench.run_log import record
model = load(name, dtype=dtype)
texts = generate(model, ["The cat sat", f"and the dog {seed}"], max_new_tokens=3)
record(text=texts[0].text, where=model.where)
---
import sys
record(torch="torch" in sys.modules)
if seed == 3: raise ValueError("so that the log is kept")
"""


def test_a_sweep_reads_each_model_once_in_its_dtype_and_not_at_all_if_its_answers_are_stored(
    checkpoints, tmp_path, monkeypatch
):
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "store.sqlite"))
    cell = (
        "from workbench.runs import Model\nname: Model = 'mini-bloom'\ndtype: str = 'float32'\nseed: int = 0"
    )
    write(tmp_path, body=MODELS, parameters=cell)
    bloom, mt5 = str(checkpoints["bloom"]), str(checkpoints["mt5"])
    wanted = [(bloom, "float32"), (bloom, "bfloat16"), (mt5, "float32")]

    def loads(seeds, counts, **options):
        content = {
            "notebook": "swept.ipynb",
            "workers": 2,
            "cases": [{"name": name, "dtype": dtype} for name, dtype in wanted],
            "product": {"seed": seeds},
        }
        file = write_sweep(tmp_path, json.dumps(content), "mine.json")
        done = runs.sweep(file, root=tmp_path / "runs", keep_going=True, **options)
        assert done.counts == counts
        (log,) = done.folder.glob("work-*/*.log")
        lines = [line for line in log.read_text().splitlines() if " loaded " in line]
        log.unlink()
        return lines

    read = loads([0, 3], {"done": 3, "failed": 3})
    table = runs.read(tmp_path / "runs/sweeps/mine")
    assert len(read) == 3
    assert all(any(f"{name} ({dtype}" in line for line in read) for name, dtype in wanted)
    assert not table["torch"].any()
    assert (table.groupby(["name", "dtype"])["text"].nunique() == 1).all()
    assert loads([3], {"failed": 3}, force=True) == []


def test_parts_share_the_runs_out_by_model_and_the_whole_brings_them_together(tmp_path, monkeypatch):
    cell = "from workbench.runs import Model\nname: Model = 'mini-bloomz'\nseed: int = 0"
    body = "from workbench import generate, load\ngenerate(load(name), [f'The cat {seed}'], max_new_tokens=1)"
    write(tmp_path, body=body, parameters=cell)
    names = ["mini-bloomz", "mini-mt0", "mini-bloom"]
    content = {"notebook": "swept.ipynb", "product": {"seed": [0, 1], "name": names}}
    file = write_sweep(tmp_path, json.dumps(content), "mine.json")
    _, _, plans = plan_sweep(file)
    parts = [[plan for group in bundled(plans, Part(k, 2)) for plan in group] for k in (1, 2)]
    assert sorted(plan.run_id for part in parts for plan in part) == sorted(plan.run_id for plan in plans)
    assert [{plan.models for plan in part} for part in parts] == [
        {("mini-bloom",), ("mini-mt0",)},
        {("mini-bloomz",)},
    ]

    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "other node.sqlite"))
    done = runs.sweep(file, root=tmp_path / "runs", part=Part(2, 2))
    assert done.counts == {"done": 2}
    assert not Path(os.environ["WORKBENCH_STORE"]).exists(), (
        "a store on a shared disk is not touched by a part"
    )
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "store.sqlite"))
    whole = runs.sweep(file, root=tmp_path / "runs")
    assert whole.counts == {"there": 2, "done": 4}
    assert Store().info()["answers"] == 6
    assert not (whole.folder / "answers").exists()
    with pytest.raises(BadInput, match="as 2/8"):
        read_part("3/2")


@pytest.mark.parametrize("name", ["...toml", ".toml", "..json", f"{'n' * 230}.toml"])
def test_a_sweep_whose_name_leads_to_another_folder_is_refused(tmp_path, name):
    """`...toml` has the name `..`: its page went into the root of all runs."""
    file = write_sweep(tmp_path, 'notebook = "03_probing"', name)
    with pytest.raises(BadInput, match="cannot be the name of a file"):
        runs.sweep(file, root=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
