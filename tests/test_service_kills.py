"""Whatever is killed — service, model, client — nothing that was finished is lost and no process is left."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from itertools import product

import psutil
import pytest

from workbench import Item, generate, load, rank
from workbench.engines.client import wanted
from workbench.engines.client.engine import about, answers
from workbench.engines.client.frames import HEAD, pack
from workbench.service import private_service, processes
from workbench.store import Store

GENEROUS = 180.0  # seconds for what is waited for, on a busy machine
CLI = [sys.executable, "-m", "workbench.cli", "serve"]
WORDS = ["Anna has 4 apples.", "Tom has 2 lemons.", "Who has apples?", "Anna and Tom sing."]
PROMPTS = [f"{WORDS[n % 4]} {WORDS[n // 4 % 4]} {WORDS[n // 16]}" for n in range(24)]
CLIENT = """
    import sys
    from workbench import generate, load
    {PROMPTS}
    print("asks", flush=True)
    generate(load(sys.argv[1]), PROMPTS, max_new_tokens=60, min_new_tokens=60, batch_size=2, progress=False)
"""
OWNER = """
    import sys, time
    from workbench import generate, load
    from workbench.service import private_service
    with private_service() as address:
        import os
        os.environ["WORKBENCH_SERVICE"] = address
        generate(load(sys.argv[1]), ["Anna"], max_new_tokens=1)
        print(address, flush=True)
        time.sleep(600)
"""


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """A user of our own: a runtime folder, a store, and no service named."""
    monkeypatch.delenv("WORKBENCH_SERVICE")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "store.sqlite"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


@pytest.fixture
def serve(environment):
    """A function that starts `workbench serve` and returns its process once it listens."""
    started = []

    def start(*words):
        process = subprocess.Popen([*CLI, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        assert "listens at" in process.stdout.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def python(code, *words):
    text = textwrap.dedent(code).replace("{PROMPTS}", f"PROMPTS = {PROMPTS!r}")
    return subprocess.Popen(
        [sys.executable, "-c", text, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def eventually(holds, seconds=GENEROUS):
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.05)
    return holds()


def gone(pids):
    return eventually(
        lambda: not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)
    )


def models_of(address):
    return [row["process"] for row in about(str(address))["models"]]


def model_of(address, name):
    (process,) = [
        row["process"] for row in about(str(address))["models"] if row["model"].split(" ")[0] == name
    ]
    return process


def count(folder):
    return Store(folder / "store.sqlite").info({})["answers"] if (folder / "store.sqlite").exists() else 0


VICTIMS = [
    pytest.param(("client", "model", "service"), id="each once"),
    *(
        pytest.param((one,) * 20, id=f"{one} twenty times", marks=pytest.mark.soak)
        for one in ("client", "model", "service")
    ),
]


@pytest.mark.parametrize("victims", VICTIMS)
def test_a_kill_loses_no_finished_answer_and_leaves_no_process(serve, environment, victims, monkeypatch):
    """Of both architectures; a new service is started only after the old one was killed, since it imports torch."""
    address = environment / "workbench" / "service.sock"
    service = serve()
    for number, (name, victim) in enumerate(product(("mini-bloomz", "mini-mt0"), victims)):
        here = environment / str(number)
        here.mkdir()
        monkeypatch.setenv("WORKBENCH_STORE", str(here / "store.sqlite"))
        client = python(CLIENT, name)
        assert eventually(lambda here=here: count(here) >= 4), client.stderr.read()
        model = model_of(address, name)
        os.kill({"service": service.pid, "model": model, "client": client.pid}[victim], signal.SIGKILL)
        _, told = client.communicate(timeout=GENEROUS)
        kept = count(here)
        assert 4 <= kept < len(PROMPTS)
        if victim != "client":
            assert "ServiceFailed" in told
        if victim == "service":
            assert gone([service.pid, model])
            service = serve()  # its socket is replaced
        if victim == "client":  # the model stops after its batch and is there for others
            assert eventually(lambda: all(row["state"] == "idle" for row in about(str(address))["models"]))
            assert model_of(address, name) == model
        handle = load(name)
        generate(handle, PROMPTS, max_new_tokens=60, min_new_tokens=60, batch_size=2, progress=False)
        assert (handle.tally.hits, handle.tally.misses) == (kept, len(PROMPTS) - kept), number
        assert handle.where == f"the service at {address}"
    pids = [service.pid, *models_of(address)]
    assert subprocess.run([*CLI, "--stop"]).returncode == 0
    assert gone(pids)


THINGS = ("apples", "lemons", "plums")
ITEMS = [Item(str(n), f"Anna has {n} {THINGS[n % 3]}. What has Anna?", THINGS) for n in range(2000)]
RANKING = """
    import sys
    from tests.test_service_kills import ITEMS
    from workbench import load, rank
    rank(load(sys.argv[1], device="cpu"), ITEMS[: int(sys.argv[2])], progress=False)
"""


@pytest.mark.parametrize("many", [1000, pytest.param(2000, marks=pytest.mark.soak)])
def test_batches_of_many_items_are_stored_as_they_are_finished(
    serve, environment, checkpoints, many, monkeypatch
):
    """Killed in the middle: what the service had sent is in the client's store, and only the rest is computed."""
    serve()
    for side, path in checkpoints.items():
        here, name = environment / side, str(path)
        here.mkdir()
        monkeypatch.setenv("WORKBENCH_STORE", str(here / "store.sqlite"))
        client = python(RANKING, name, str(many))
        assert eventually(lambda here=here: count(here) >= many / 4), client.stderr.read()
        (model,) = models_of(environment / "workbench" / "service.sock")
        os.kill(model, signal.SIGKILL)
        _, told = client.communicate(timeout=GENEROUS)
        assert "ServiceFailed" in told
        kept = count(here)
        assert many / 4 <= kept < 3 * many, "three answers for each item"
        with monkeypatch.context() as patch:
            patch.setenv("WORKBENCH_SERVICE", "off")
            handle = load(name, device="cpu")
            rank(handle, ITEMS[:many], progress=False)
        assert (handle.tally.hits, handle.tally.misses) == (kept, 3 * many - kept), side


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_private_service_ends_with_its_owner(environment, end):
    owner = python(OWNER, "mini-bloomz")
    address = owner.stdout.readline().strip()
    pids = [about(address)["process"], *models_of(address)]
    assert len(pids) == 2
    owner.send_signal(end)
    owner.communicate(timeout=GENEROUS)
    assert gone(pids)


def test_a_second_service_of_a_user_is_refused_and_another_user_does_not_see_the_first(
    serve, environment, monkeypatch
):
    serve()
    address = environment / "workbench" / "service.sock"
    assert address.stat().st_mode & 0o777 == 0o600
    assert address.parent.stat().st_mode & 0o777 == 0o700
    second = subprocess.run(CLI, capture_output=True, text=True)
    assert second.returncode == 2
    assert second.stderr.startswith("error: a model service already runs at")
    assert answers(str(address))
    (environment / "other").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(environment / "other"))
    nobody = subprocess.run([*CLI, "--list"], capture_output=True, text=True)
    assert (nobody.returncode, nobody.stderr) == (
        5,
        "error: no model service runs; `workbench serve` starts one\n",
    )


def test_a_socket_in_a_folder_of_others_is_not_asked(serve, environment):
    serve()
    folder = environment / "workbench"
    assert subprocess.run([*CLI, "--list"], capture_output=True).returncode == 0
    folder.chmod(0o755)
    assert subprocess.run([*CLI, "--list"], capture_output=True).returncode == 5
    refused = subprocess.run(CLI, capture_output=True, text=True)
    assert "or other users can enter it" in refused.stderr


def test_least_recently_used_models_make_room_and_unused_ones_end(environment, monkeypatch):
    with private_service(memory=1_200_000_000, threads=1) as address:
        monkeypatch.setenv("WORKBENCH_SERVICE", address)
        for name in ("mini-bloomz", "mini-mt0", "mini-bloomz-p3"):
            generate(load(name), ["Anna has apples."], max_new_tokens=1)
            last = [row["model"] for row in about(address)["models"]]
        assert [text.split(" ")[0] for text in last] == ["mini-mt0", "mini-bloomz-p3"]
    with private_service(idle=2.0, threads=1) as address:
        monkeypatch.setenv("WORKBENCH_SERVICE", address)
        generate(load("mini-mt0"), ["Tom has apples."], max_new_tokens=1)
        assert len(about(address)["models"]) == 1
        assert eventually(lambda: about(address)["models"] == [])
    with private_service(memory=1000) as address:
        monkeypatch.setenv("WORKBENCH_SERVICE", address)
        with pytest.warns(UserWarning, match="has no room for mini-bloomz .* in this process instead"):
            assert generate(load("mini-bloomz"), ["Anna sings."], max_new_tokens=1)


def test_a_port_without_a_token_is_refused(environment):
    refused = subprocess.run([*CLI, "--port", "1234"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "a port needs a token" in refused.stderr


def test_a_killed_template_is_started_again_and_no_process_is_left(environment, monkeypatch):
    with private_service(ahead=True) as address:
        monkeypatch.setenv("WORKBENCH_SERVICE", address)
        first = generate(load("mini-bloomz"), WORDS, max_new_tokens=2)
        pids = models_of(address)
        if not processes.CAN_FORK:
            return
        template = psutil.Process(pids[0]).parent()
        assert "workbench.service.fork_parent" in template.cmdline()
        template.kill()
        assert gone([template.pid, *pids])
        again = load("mini-bloomz", store=Store(environment / "other.sqlite"))
        assert generate(again, WORDS, max_new_tokens=2) == first
        pids = [*models_of(address), psutil.Process(models_of(address)[0]).ppid()]
    assert gone(pids)


def test_processes_can_be_started_afresh_instead(environment, monkeypatch):
    monkeypatch.setattr(processes, "CAN_FORK", False)

    async def answered():
        started = processes.Processes({})
        process = await started.spawn()
        process.stdin.write(pack({"wanted": vars(wanted(load("mini-bloomz")))}))
        await process.stdout.readexactly(HEAD.size)
        await process.kill()
        return process.is_running, await process.wait()

    assert asyncio.run(answered()) == (False, -signal.SIGKILL)
