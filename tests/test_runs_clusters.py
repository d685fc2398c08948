"""A sweep on a cluster gives the table of an undisturbed one on this machine, also if a worker is killed on the way."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.slurm import CAN_START, slurm
from workbench import generate, load, runs
from workbench.runs.sweep_file import plan_sweep
from workbench.store import Store

pytestmark = pytest.mark.usefixtures("the_package_stands_still")

BODY = """
import os, time
from pathlib import Path
from workbench import generate, load
from workbench.run_log import record
model = load(name)
text = generate(model, [f"The cat {seed}"], max_new_tokens=2)[0].text
record(text=text)
Path("workers").mkdir(exist_ok=True)
Path("workers", f"{Path(name).name}-{seed}").write_text(os.environ["WORKBENCH_STORE"])
time.sleep(seconds)
"""
CELL = """
from workbench.runs import Model
name: Model = 'mini-bloom'
seed: int = 0
seconds: float = 0.0
"""


def write_sweep(folder, checkpoints, *, seeds, seconds=0.5, resources=None):
    cells = [new_code_cell(CELL, metadata={"tags": ["parameters"]}, id="one"), new_code_cell(BODY, id="two")]
    nbformat.write(new_notebook(cells=cells), folder / "swept.ipynb")
    content = {
        "notebook": "swept.ipynb",
        "workers": 1,
        "parameters": {"seconds": seconds},
        "product": {"seed": list(range(seeds)), "name": [str(path) for path in checkpoints.values()]},
        "resources": resources or {},
    }
    (folder / "mine.json").write_text(json.dumps(content))
    return folder / "mine.json"


@pytest.fixture
def expected(tmp_path, monkeypatch):
    """The rows of an undisturbed sweep, with the texts that the models give in this process."""

    def of(file):
        monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "there.sqlite"))
        rows = [{"run_id": plan.run_id, **plan.parameters} for plan in plan_sweep(file)[2]]
        for row in rows:
            model = load(row["name"], device="cpu", store=Store(tmp_path / "here.sqlite"))
            row["text"] = generate(model, [f"The cat {row['seed']}"], max_new_tokens=2)[0].text
        return pd.DataFrame(rows)

    return of


def expect_same(done, expected, answers):
    assert done.exit_code == 0, done.endings
    pd.testing.assert_frame_equal(done.table()[expected.columns], expected)
    assert Store().info()["answers"] == answers, "what the machines computed is in one store"
    assert not (done.folder / "answers").exists()


def test_a_dask_cluster_of_which_a_worker_is_killed_gives_the_same_table(tmp_path, checkpoints, expected):
    distributed = pytest.importorskip("distributed")
    file = write_sweep(tmp_path, checkpoints, seeds=2, seconds=1.0)
    table = expected(file)
    seen, killed = [], []

    def kill_once(progress):
        seen.append(json.dumps(sorted(progress.running)))
        if progress.running and not killed:
            killed.extend(cluster.workers.values())
            os.kill(killed[0].process.pid, signal.SIGKILL)

    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        done = runs.sweep(
            file, root=tmp_path / "there", on=f"dask:{cluster.scheduler_address}", watch=kill_once
        )
    assert killed
    assert len(set(seen)) > 1, "progress shows runs although futures do not say that they run"
    expect_same(done, table, answers=4)


@pytest.mark.soak
@pytest.mark.skipif(
    not CAN_START, reason="needs SLURM (apt-get install munge slurmctld slurmd slurm-client) and root"
)
def test_a_slurm_cluster_of_which_a_worker_is_killed_gives_the_same_table(
    tmp_path, checkpoints, expected, monkeypatch
):
    pytest.importorskip("dask_jobqueue")
    monkeypatch.chdir(tmp_path)  # where SLURM's jobs leave their output
    file = write_sweep(
        tmp_path, checkpoints, seeds=6, resources={"cpus": 1, "time": "00:10:00", "partition": "short"}
    )
    table = expected(file)
    killed = []

    def kill_once(progress):
        if progress.running and not killed:
            workers = [each for each in psutil.process_iter(["cmdline"]) if _is_worker(each)]
            killed.extend(workers)
            workers[0].kill()

    with slurm(tmp_path / "slurm"):
        done = runs.sweep(file, root=tmp_path / "there", on="slurm", watch=kill_once)
    assert killed
    expect_same(done, table, answers=12)
    assert len(done.endings) == 12


def _is_worker(process):
    return (
        "distributed.cli.dask_worker" in " ".join(process.info["cmdline"] or ())
        and "SLURM_JOB_ID" in process.environ()
    )


@pytest.mark.soak
@pytest.mark.skipif(not CAN_START, reason="needs SLURM and root")
def test_the_sbatch_file_of_the_documentation_runs_a_sweep_in_parts(tmp_path, checkpoints, expected):
    file = write_sweep(tmp_path, checkpoints, seeds=3)
    table = expected(file)
    page = (Path(__file__).parents[1] / "docs" / "cluster.md").read_text(encoding="utf-8")
    script = page.split("```sh\n#!/bin/bash", 1)[1].split("```", 1)[0]
    assert "--array=1-8" in script
    workbench = f"{sys.executable} -m workbench.cli"
    here = {  # what one machine has, without GPUs
        "--array=1-8": "--array=1-2", "/8": "/2", "sweep.toml": file.name, "--cpus-per-task=8": "--cpus-per-task=1",
        "--mem=32G": "--mem=1G", "#SBATCH --gres=gpu:1\n": "", "srun workbench": workbench,
    }  # fmt: skip
    for theirs, ours in here.items():
        assert theirs in script
        script = script.replace(theirs, ours)
    (tmp_path / "sweep.sbatch").write_text(f"#!/bin/bash{script}")
    with slurm(tmp_path / "slurm"):
        submitted = subprocess.run(
            ["sbatch", "--wait", "sweep.sbatch"], cwd=tmp_path, capture_output=True, text=True, timeout=600
        )
    logs = [path.read_text() for path in sorted(tmp_path.glob("sweep-*.log"))]
    assert submitted.returncode == 0, (submitted.stderr, logs)
    assert len(logs) == 2
    command = [*workbench.split(), "sweep", file.name]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    whole = tmp_path / "runs/sweeps/mine"
    assert json.loads((whole / "sweep.json").read_text())["counts"] == {"there": 6}
    del table["run_id"]  # the package may have changed meanwhile
    pd.testing.assert_frame_equal(runs.read(whole)[table.columns], table)
    assert Store().info()["answers"] == 6
