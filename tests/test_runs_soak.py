"""Long runs with kills and floods (`make soak`): whatever is killed, nothing false is reported, lost or repeated."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from workbench.store import Store

pytestmark = pytest.mark.soak

BODY = """
import os, time
import pandas as pd
from workbench.run_log import keep_table, record
time.sleep(0.5)
record(value=seed * 1.5, language=language)
keep_table(pd.DataFrame({"seed": [seed], "language": [language]}))
with open(os.environ["LEDGER"], "a") as lines: print(language, seed, file=lines)
"""
SWEEP = """
notebook = "swept.ipynb"
workers = 4
[product]
language = ["no", "x-fr", "x-zh"]
seed = [0, 1, 2, 3]
"""


@pytest.fixture
def place(tmp_path):
    parameters = "language: str = 'no'\nseed: int = 0"
    cells = [new_code_cell(parameters, metadata={"tags": ["parameters"]}), new_code_cell(BODY)]
    nbformat.write(new_notebook(cells=cells), tmp_path / "swept.ipynb")
    (tmp_path / "mine.toml").write_text(SWEEP)
    (tmp_path / "ledger").touch()
    return tmp_path


HEARS_SIGINT = (  # which is ignored below a shell's background job
    "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\nfrom workbench.cli import main\nmain()"
)


def start(place, *words, root="runs", **environment):
    command = [sys.executable, "-c", HEARS_SIGINT, "sweep", *words, "--root", root]
    environment = {**os.environ, "LEDGER": str(place / "ledger"), **environment}
    return subprocess.Popen(
        command,
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(place, root="runs"):
    return sorted(path.parent.name for path in (place / root / "swept").glob("[!.]*/_SUCCESS"))


def descendants(pid):
    """Every process below one that is there while we look."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                found += [int(child), *descendants(child)]
    return found


def until(condition, seconds=300):
    stop = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < stop
        time.sleep(0.05)


def table(place, root="runs"):
    return pd.read_parquet(place / root / "sweeps/mine/runs.parquet")


ASKING = """
import os, time
from pathlib import Path
from workbench import generate, load
from workbench.run_log import record
model = load(name)
text = generate(model, [f"The cat {seed}"], max_new_tokens=3)[0].text
Path(os.environ["LEDGER"]).with_name(f"asked-{seed}").write_text(str(os.getpid()))
time.sleep(0.5)
record(text=text, misses=model.tally.misses)
"""
RUNS = 24


@pytest.fixture(params=["bloom", "mt5"])
def asking(request, tmp_path, checkpoints, monkeypatch):
    """A sweep whose runs ask a small random checkpoint, each another question."""
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "store.sqlite"))
    parameters = "from workbench.runs import Model\nname: Model = 'mini-bloom'\nseed: int = 0"
    cells = [new_code_cell(parameters, metadata={"tags": ["parameters"]}), new_code_cell(ASKING)]
    nbformat.write(new_notebook(cells=cells), tmp_path / "swept.ipynb")
    content = {
        "notebook": "swept.ipynb",
        "workers": 2,
        "parameters": {"name": str(checkpoints[request.param])},
        "product": {"seed": list(range(RUNS))},
    }
    (tmp_path / "mine.json").write_text(json.dumps(content))
    return tmp_path


def marks(place):
    """When each finished run was finished."""
    return {path: path.stat().st_mtime_ns for path in (place / "runs/swept").glob("[!.]*/_SUCCESS")}


def expect_nothing_lost_or_repeated(place, before, asked):
    """Finished runs are those of `before` and more; a run that had its answer when it was killed finds it in the store."""
    assert start(place, "mine.json").wait(900) == 0
    assert before.items() <= marks(place).items()
    assert len(marks(place)) == RUNS
    answered = Store(place / "store.sqlite").info()["answers"]
    assert answered == RUNS
    found = pd.read_parquet(place / "runs/sweeps/mine/runs.parquet")
    assert sorted(found["seed"]) == list(range(RUNS))
    assert not found.set_index("seed").loc[sorted(asked), "misses"].any()
    undisturbed = start(place, "mine.json", root="other", WORKBENCH_STORE=str(place / "other.sqlite"))
    assert undisturbed.wait(900) == 0
    pd.testing.assert_series_equal(found["text"], table(place, "other")["text"])


@pytest.mark.parametrize("victim", ["sweep", "bundle"])
def test_killed_twenty_times_nothing_is_lost_or_repeated_and_no_process_left(asking, victim):
    before, asked = {}, set()
    for _ in range(20):
        sweep = start(asking, "mine.json")
        until(lambda known=before, sweep=sweep: marks(asking) != known or sweep.poll() is not None)
        below = descendants(sweep.pid)
        before = marks(asking)
        os.kill(sweep.pid if victim == "sweep" else below[0], signal.SIGKILL)
        _, told = sweep.communicate(timeout=120)
        assert sweep.returncode == (-signal.SIGKILL if victim == "sweep" else 138), told
        until(lambda below=below: not [pid for pid in below if Path(f"/proc/{pid}").exists()], 60)
        assert before.items() <= marks(asking).items(), "nothing finished is lost or repeated"
        done = {run["given"]["seed"] for run in manifests(asking)}
        asked |= {int(path.name.split("-")[1]) for path in asking.glob("asked-*")} - done
    expect_nothing_lost_or_repeated(asking, before, asked)


def test_twenty_killed_kernels_take_nothing_with_them(asking):
    sweep, killed = start(asking, "mine.json", "--keep-going"), {}
    while len(killed) < 20:
        assert sweep.poll() is None, sweep.stderr.read()
        for path in asking.glob("asked-*"):
            pid = path.read_text()
            if path.name not in killed and pid:
                os.kill(int(pid), signal.SIGKILL)
                killed[path.name] = int(pid)
        time.sleep(0.01)
    _, told = sweep.communicate(timeout=300)
    assert sweep.returncode == 138, told
    assert len(marks(asking)) == RUNS - 20, "each kernel takes its own run with it, and no other"
    until(lambda: not [pid for pid in killed.values() if Path(f"/proc/{pid}").exists()], 30)
    expect_nothing_lost_or_repeated(asking, marks(asking), {int(name.split("-")[1]) for name in killed})


def test_an_interrupted_sweep_ends_its_processes_says_130_and_goes_on(place):
    sweep = start(place, "mine.toml")
    until(lambda: finished(place))
    below = descendants(sweep.pid)
    sweep.send_signal(signal.SIGINT)
    _, told = sweep.communicate(timeout=120)
    assert sweep.returncode == 130, told
    until(lambda: not [pid for pid in below if Path(f"/proc/{pid}").exists()], 30)
    assert start(place, "mine.toml").wait(600) == 0
    assert len(finished(place)) == 12


def manifests(place):
    return [
        json.loads(path.with_name("run.json").read_text())
        for path in (place / "runs/swept").glob("[!.]*/_SUCCESS")
    ]


def test_two_sweeps_at_once_on_one_folder_do_each_run_once(place):
    both = [start(place, "mine.toml") for _ in range(2)]
    for sweep in both:
        _, told = sweep.communicate(timeout=900)
        assert sweep.returncode == 0, told
    assert len(finished(place)) == 12
    assert sorted((place / "ledger").read_text().splitlines()) == sorted(
        set((place / "ledger").read_text().splitlines())
    )
    assert not list((place / "runs/swept").glob("*.failed-*"))


def test_whatever_process_of_a_sweep_is_killed_its_success_is_real(place):
    """Twenty random processes below the sweep (bundle, service, server of forks, run, kernel) get kill -9."""
    generator, kills = random.Random(0), 0
    for _ in range(30):
        sweep = start(place, "mine.toml", "--keep-going")
        while sweep.poll() is None and kills < 20:
            time.sleep(generator.uniform(0.2, 1.5))
            below = descendants(sweep.pid)
            if below:
                kills += 1
                try:
                    os.kill(generator.choice(below), signal.SIGKILL)
                except ProcessLookupError:
                    continue
        _, told = sweep.communicate(timeout=900)
        for run in manifests(place):
            assert (run["status"], run["exit_code"]) == ("done", 0)
        if sweep.returncode == 0:
            break
        assert sweep.returncode in (1, 138, 7), told
    assert kills == 20 or sweep.returncode == 0
    assert start(place, "mine.toml").wait(600) == 0
    assert len(finished(place)) == 12
    assert (table(place)["value"] == table(place)["seed"] * 1.5).all()


def test_eight_parallel_runs_never_clash_twenty_times_in_a_row(place):
    for turn in range(20):
        text = (
            (place / "mine.toml")
            .read_text()
            .replace("[0, 1, 2, 3]", str(list(range(8 * turn, 8 * turn + 8))))
        )
        (place / "mine.toml").write_text(
            text.replace('["no", "x-fr", "x-zh"]', '["no"]').replace("workers = 4", "workers = 8")
        )
        sweep = start(place, "mine.toml")
        _, told = sweep.communicate(timeout=600)
        assert sweep.returncode == 0, told
        (place / "mine.toml").write_text(SWEEP)
    assert len(finished(place)) == 160


def test_a_hundred_runs_that_are_there_are_no_work(place):
    text = (place / "mine.toml").read_text()
    text = text.replace('["no", "x-fr", "x-zh"]', '["no"]').replace("[0, 1, 2, 3]", str(list(range(100))))
    (place / "mine.toml").write_text(text)
    assert start(place, "mine.toml").wait(1500) == 0
    began = time.monotonic()
    assert start(place, "mine.toml").wait(60) == 0
    took = time.monotonic() - began
    print(f"a no-op of 100 runs took {took:.2f} s (goal 3)")
    assert took <= 3.0
    assert len((place / "ledger").read_text().splitlines()) == 100
