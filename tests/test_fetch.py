"""`workbench fetch` and the downloads of `load`, against a local server that speaks the hub's protocol."""

import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from types import SimpleNamespace

import pandas as pd
import pytest
from hub_server import Hub, files_of, running
from huggingface_hub.utils import close_session

from workbench.cli import main
from workbench.errors import NotReachable
from workbench.fetching import prompts_folder
from workbench.inference.generation import generate
from workbench.models import load
from workbench.paths import data_path
from workbench.prompts import read_promptsource
from workbench.tasks import benchmarks, read_benchmark, read_data
from workbench.tasks.path_languages import local_rows

SIDES = {"bloom": ("bloomz-560m", "bigscience/bloomz-560m"), "mt5": ("mt0-small", "bigscience/mt0-small")}
PROMPTS = ["The cat sat on the mat."]
XCOPA = data_path("examples/xcopa")
PLACES = {
    **dict.fromkeys(("copa", "rte", "cb"), "super_glue"), **dict.fromkeys(("anli_r1", "anli_r2", "anli_r3"), "anli"),
    **dict.fromkeys(("flores_to_en", "flores_from_en"), "flores_plus"),
}  # fmt: skip
ARCHIVES = {"main": "/bigscience-workshop/promptsource", "xp3mt": "/Muennighoff/promptsource"}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub on this machine, a cache that is empty, and no network."""
    for name, value in {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": False}.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("WORKBENCH_STORE", str(tmp_path / "store.sqlite"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("workbench.downloads.files._PAUSE", 0.01)
    with running(Hub()) as served:
        point_to(served.url, monkeypatch)
        monkeypatch.setattr("workbench.downloads.github.HOST", served.url)
        yield served
    close_session()


def point_to(url, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture(params=SIDES)
def checkpoint(request, checkpoints, hub):
    """(short name, hub id, folder) of each architecture in turn, published with files that loading does not read."""
    name, hub_id = SIDES[request.param]
    folder = checkpoints[request.param]
    others = {"pytorch_model.bin": b"x" * 100, "flax_model.msgpack": b"x" * 100, "README.md": b"#"}
    hub.publish(hub_id, files_of(folder) | others)
    return name, hub_id, folder


@pytest.fixture
def xcopa(hub, tmp_path):
    """XCOPA's examples, published as the hub's conversion to parquet."""
    return publish_rows(hub, tmp_path, benchmarks()["xcopa"], "val.{}.jsonl", XCOPA, ("sw", "zh"))


def publish_rows(hub, tmp_path, benchmark, name, folder, languages):
    files = {}
    for language in languages:
        table = pd.read_json(folder / name.format(language), lines=True)
        table.to_parquet(tmp_path / "rows.parquet")
        place = benchmark.pattern(language).replace("*", "0000")
        files[place] = (tmp_path / "rows.parquet").read_bytes()
    hub.publish(benchmark.hub_id, files, kind="datasets", revision=benchmark.revision)
    return benchmark


def ended(capfd, *words):
    with pytest.raises(SystemExit) as end:
        main(list(words))
    said = capfd.readouterr()
    return SimpleNamespace(code=end.value.code or 0, out=said.out, err=said.err)


def answers(name, store, **options):
    return generate(load(name, device="cpu", store=store, **options), PROMPTS, max_new_tokens=4)


def log_of(tmp_path):
    return [json.loads(line) for line in (tmp_path / "cache/workbench/fetch.jsonl").read_text().splitlines()]


def test_a_checkpoint_fetched_over_http_answers_as_one_read_from_a_folder(checkpoint, hub, store, capfd):
    name, _, folder = checkpoint
    assert ended(capfd, "fetch", name).code == 0
    hub.answer["/"] = 500  # from here on the hub gives nothing
    assert answers(name, store) == answers(folder, store)
    assert load(name, store=store).identity.weights == load(folder, store=store).identity.weights


def test_load_downloads_what_it_reads_and_no_more(checkpoint, hub, store):
    name, _, folder = checkpoint
    assert answers(name, store) == answers(folder, store)
    asked = " ".join(one.path for one in hub.served)
    assert "model.safetensors" in asked
    for other in ("pytorch_model.bin", "flax_model", "README"):
        assert other not in asked


def test_a_second_fetch_downloads_nothing_and_a_new_commit_only_what_changed(checkpoint, hub, capfd):
    name, hub_id, folder = checkpoint
    ended(capfd, "fetch", name)
    assert hub.downloads()
    hub.served.clear()
    assert ended(capfd, "fetch", name).code == 0
    assert hub.downloads() == []
    hub.publish(hub_id, files_of(folder) | {"generation_config.json": b'{"eos_token_id": 1, "note": 1}'})
    [fetched] = json.loads(ended(capfd, "fetch", name, "--json").out)
    assert [one.path.rpartition("/")[2] for one in hub.downloads()] == ["generation_config.json"]
    assert fetched["commit"] == hub.models[hub_id].commit("main")


def test_a_download_whose_connection_breaks_goes_on_where_it_stopped(checkpoint, hub, store, capfd):
    name, _, folder = checkpoint
    size = (folder / "model.safetensors").stat().st_size
    hub.cut = [size // 3, size // 3]
    assert ended(capfd, "fetch", name).code == 0
    parts = [(one.start, one.sent) for one in hub.served if "/storage/" in one.path][:3]
    assert parts[0] == (0, size // 3)
    assert [start for start, _ in parts] == [0, size // 3, 2 * (size // 3)]
    assert answers(name, store) == answers(folder, store)


def test_a_killed_download_goes_on_where_it_stopped(checkpoint, hub, tmp_path, store):
    name, _, folder = checkpoint
    whole = (folder / "model.safetensors").stat().st_size
    hub.stall = whole // 2
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "0"}
    words = [sys.executable, "-m", "workbench.cli", "fetch", name]
    with subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert hub.stalled.wait(120)
        [part] = wait_for(
            lambda: [
                p for p in (tmp_path / "hub").rglob("*.part.incomplete") if p.stat().st_size == whole // 2
            ]
        )
        process.send_signal(signal.SIGKILL)
    hub.stall = None
    hub.go_on.set()
    hub.served.clear()
    assert answers(name, store) == answers(folder, store)
    [resumed] = [one for one in hub.served if "/storage/" in one.path]
    assert (resumed.start, resumed.sent) == (whole // 2, whole - whole // 2)
    assert not part.exists()


def wait_for(found, seconds=120):
    end = time.monotonic() + seconds
    while not (it := found()) and time.monotonic() < end:
        time.sleep(0.02)
    return it


def test_what_arrives_damaged_is_thrown_away_and_said(checkpoint, hub, tmp_path, capfd):
    name = checkpoint[0]
    hub.damage = True
    said = ended(capfd, "fetch", name)
    assert (said.code, said.out) == (5, "")
    assert "model.safetensors of the model" in said.err
    assert "arrived damaged" in said.err
    assert not list((tmp_path / "hub").rglob("*incomplete"))
    hub.damage = False
    assert ended(capfd, "fetch", name).code == 0


def gated(hub):
    hub.models["bigscience/bloomz-560m"].gated = True


def gone(hub):
    del hub.models["bigscience/bloomz-560m"]


def broken(hub):
    hub.answer["/api/models"] = 500


def half_broken(hub):
    hub.answer["/storage/"] = 503


@pytest.mark.parametrize(
    ("what", "words", "message"),
    [
        (gated, (), r"the model bigscience/bloomz-560m is gated: accept its conditions at http.*/bigscience/bloomz-560m"),
        (gone, (), r"the hub has no model bigscience/bloomz-560m, or it is private; check the name, or set HF_TOKEN"),
        (broken, (), r"the hub answered 500 when asked for the model bigscience/bloomz-560m.*try again later"),
        (half_broken, (), r"the hub answered 503 when asked for the model bigscience/bloomz-560m; what arrived is kept"),
        (lambda _: None, ("--revision", "v9"), r"bloomz-560m has no revision 'v9' on the hub; name a branch, a tag or a commit"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_sentence_that_says_what_to_do(what, words, message, checkpoints, hub, capfd):
    hub.publish("bigscience/bloomz-560m", files_of(checkpoints["bloom"]))
    what(hub)
    said = ended(capfd, "fetch", "bloomz-560m", *words)
    assert (said.code, said.out, said.err.count("\n")) == (5, "", 1), said.err
    with pytest.raises(NotReachable, match=message):
        raise NotReachable(said.err)


def test_a_token_opens_a_gated_model_and_goes_to_the_hub_alone(checkpoint, hub, monkeypatch, capfd):
    name, hub_id, _ = checkpoint
    hub.models[hub_id].gated = True
    monkeypatch.setenv("HF_TOKEN", "hf_a_secret")
    assert ended(capfd, "fetch", name).code == 0
    authorised = {one.path.split("/")[1]: one.token for one in hub.served if one.method == "GET"}
    assert authorised["bigscience"] == "Bearer hf_a_secret"
    assert authorised["storage"] is None


def test_a_model_that_has_only_pickles_is_named_with_the_command_that_converts(checkpoint, hub, capfd):
    name, hub_id, folder = checkpoint
    files = {path: content for path, content in files_of(folder).items() if path != "model.safetensors"}
    hub.publish(hub_id, files | {"pytorch_model.bin": b"x"})
    said = ended(capfd, "fetch", name)
    assert said.code == 2
    assert f"workbench convert {name} --to safetensors" in said.err
    assert hub.downloads() == []


def test_shards_are_fetched_with_their_index(checkpoint, hub, store, tmp_path, capfd):
    name, hub_id, folder = checkpoint
    sharded = tmp_path / "sharded"
    load(folder, device="cpu", store=store).hf.model.save_pretrained(sharded, max_shard_size="60KB")
    files = {path: content for path, content in files_of(folder).items() if path != "model.safetensors"}
    hub.publish(hub_id, files | files_of(sharded))
    [fetched] = json.loads(ended(capfd, "fetch", name, "--json").out)
    names = [one["name"] for one in fetched["files"]]
    assert "model.safetensors.index.json" in names
    assert sum(one.endswith(".safetensors") for one in names) > 1
    hub.answer["/"] = 500
    assert answers(name, store) == answers(folder, store)


def test_a_revision_is_fetched_and_found_again(checkpoint, hub, store, capfd):
    name, hub_id, folder = checkpoint
    hub.publish(hub_id, files_of(folder) | {"README.md": b"older"}, revision="v1")
    commit = hub.models[hub_id].commit("v1")
    assert ended(capfd, "fetch", name, "--revision", "v1").code == 0
    assert load(name, revision="v1", store=store).identity.commit == commit
    hub.served.clear()
    assert ended(capfd, "fetch", name, "--revision", commit).code == 0
    assert hub.downloads() == []


@pytest.mark.parametrize("how", ["offline", "refused"])
def test_offline_it_says_at_once_what_to_copy_where_and_takes_what_is_here(
    how, checkpoint, xcopa, hub, monkeypatch, tmp_path, capfd
):
    name, hub_id, _ = checkpoint
    ended(capfd, "fetch", "xcopa", "--languages", "sw")
    if how == "offline":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    else:
        point_to("http://127.0.0.1:9", monkeypatch)
    start = time.monotonic()
    said = ended(capfd, "fetch", name)
    assert time.monotonic() - start < 5  # on a busy machine
    assert (said.code, said.out, said.err.count("\n")) == (5, "", 1)
    folder = f"models--{hub_id.replace('/', '--')}"
    assert f"copy {folder} from another machine's cache of the hub to {tmp_path / 'hub'}" in said.err
    here = ended(capfd, "fetch", "xcopa", "--languages", "sw")
    assert here.code == 0
    assert "everything is here already" in here.err
    missing = ended(capfd, "fetch", "xcopa", "--languages", "zh")
    assert missing.code == 5
    assert (
        f"copy datasets--cambridgeltl--xcopa from another machine's cache of the hub to {tmp_path / 'hub'}"
        in missing.err
    )


def test_rows_fetched_over_http_are_those_of_the_folder(xcopa, hub, capfd):
    said = ended(capfd, "fetch", "xcopa", "--languages", "sw,zh", "--json")
    [fetched] = json.loads(said.out)
    from_folder = read_benchmark(xcopa, ["sw", "zh"], data=XCOPA)
    assert fetched["rows"] == {"sw": 4, "zh": 4}
    hub.answer["/"] = 500
    assert read_benchmark(xcopa, ["sw", "zh"]) == from_folder
    assert read_data("xcopa", "published", languages=["zh"]).rows == tuple(
        row for row in from_folder if row["language"] == "zh"
    )


@pytest.mark.parametrize("name", [name for name, one in benchmarks().items() if one.hub_id])
def test_every_task_of_the_table_is_the_same_over_http_and_from_files(name, hub, tmp_path):
    """Twin: a row that differs on the hub differs here."""
    benchmark = benchmarks()[name]
    example = data_path("examples") / PLACES.get(name, name)
    found = {code: [row.fields for row in rows] for code, rows in local_rows(benchmark, example, ()).items()}
    hub.publish(
        benchmark.hub_id, packed(benchmark, found, tmp_path), kind="datasets", revision=benchmark.revision
    )
    asked = [code for code in found if code != benchmark.pivot]
    from_files = read_benchmark(benchmark, asked, data=example)
    assert read_benchmark(benchmark, asked) == from_files
    next(iter(found.values()))[0][benchmark.needed[0]] = "Something else."
    hub.publish(benchmark.hub_id, packed(benchmark, found, tmp_path), kind="datasets", revision="other")
    assert read_benchmark(benchmark, asked, revision="other") != from_files


def packed(benchmark, found, tmp_path):
    """Files of a data set on the hub: parquet, or JSON lines where the table leaves the kind open."""
    files = {}
    for code, rows in found.items():
        pattern = benchmark.pattern(code)
        if pattern.endswith(".parquet"):
            pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
            files[pattern.replace("*", "0000")] = (tmp_path / "rows.parquet").read_bytes()
        else:
            files[pattern.replace("*", "jsonl")] = "".join(json.dumps(row) + "\n" for row in rows).encode()
    return files


def test_an_evaluation_on_an_empty_machine_downloads_what_it_needs(checkpoint, xcopa, hub, tmp_path, capfd):
    name, _, _ = checkpoint
    words = [
        "evaluate",
        name,
        "xcopa",
        "--languages",
        "sw",
        "--limit",
        "2",
        "--template",
        "complete",
        "--device",
        "cpu",
    ]
    said = ended(capfd, *words, "--out", str(tmp_path / "out"), "--json")
    assert said.code == 0, said.err
    assert "has not been tried yet" in said.err
    [row] = json.loads(said.out)["by_language"]
    assert (row["language"], row["n"]) == ("sw", 2)
    hub.answer["/"] = 500
    again = ended(capfd, *words, "--out", str(tmp_path / "out"), "--json")
    assert again.out == said.out


def test_data_are_downloaded_when_first_read(xcopa, hub):
    assert len(read_benchmark(xcopa, ["sw"])) == 4
    assert len([one for one in hub.downloads() if "/storage/" in one.path]) == 1
    hub.served.clear()
    read_benchmark(xcopa, ["sw"])
    assert hub.served == []


def test_rows_in_another_schema_are_an_error_that_names_row_and_field(xcopa, hub, tmp_path, capfd):
    pd.DataFrame({"premise": ["a"], "label": [0]}).to_parquet(tmp_path / "odd.parquet")
    place = xcopa.pattern("sw").replace("*", "0000")
    hub.publish(
        xcopa.hub_id,
        {place: (tmp_path / "odd.parquet").read_bytes()},
        kind="datasets",
        revision=xcopa.revision,
    )
    said = ended(capfd, "fetch", "xcopa", "--languages", "sw")
    assert said.code == 2
    assert "row 1 lacks the field 'choice1'" in said.err
    assert "lacks the field 'choice1'" in log_of(tmp_path)[-1]["error"]


def test_a_dry_run_says_what_would_come_and_leaves_everything_as_it_is(checkpoint, hub, tmp_path, capfd):
    name, _, folder = checkpoint
    said = ended(capfd, "fetch", name, "--dry-run", "--json")
    [planned] = json.loads(said.out)
    sizes = {one["name"]: one["size"] for one in planned["files"]}
    assert sizes["model.safetensors"] == (folder / "model.safetensors").stat().st_size
    assert not any(one["was_here"] for one in planned["files"])
    assert hub.downloads() == []
    assert not (tmp_path / "hub").exists()
    assert not (tmp_path / "cache").exists()


def test_a_disk_that_is_too_small_is_refused_before_the_first_byte(checkpoint, hub, monkeypatch, capfd):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    said = ended(capfd, "fetch", checkpoint[0])
    assert (said.code, said.out) == (7, "")
    assert "free some space, or name another folder in HF_HUB_CACHE" in said.err
    assert hub.downloads() == []


def test_a_disk_that_fills_up_keeps_what_arrived_and_the_next_fetch_goes_on(checkpoint, hub, tmp_path, capfd):
    name, _, folder = checkpoint
    whole = (folder / "model.safetensors").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole // 2, hard))
    try:
        said = ended(capfd, "fetch", name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (said.code, said.out) == (7, "")
    assert "could not be written to the hub's cache" in said.err
    assert "what arrived is kept" in said.err
    hub.served.clear()
    assert ended(capfd, "fetch", name).code == 0
    [resumed] = [one for one in hub.served if "/storage/" in one.path]
    assert 0 < resumed.start <= whole // 2


def test_the_log_is_a_report_without_paths_and_tokens(checkpoint, hub, monkeypatch, tmp_path, capfd):
    name, hub_id, _ = checkpoint
    monkeypatch.setenv("HF_TOKEN", "hf_a_secret")
    ended(capfd, "fetch", name)
    ended(capfd, "fetch", name, "--revision", "v9")
    hub.answer["/"] = 500
    ended(capfd, "fetch", "xcopa")
    ended(capfd, "fetch", "no-such-name")
    fetched, revision, refused = log_of(tmp_path)
    [what] = fetched["fetched"]
    assert (what["origin"], what["commit"]) == (hub_id, hub.models[hub_id].commit("main"))
    assert {one["digest"].split(":")[0] for one in what["files"]} == {"sha256", "git"}
    assert (fetched["error"], fetched["endpoint"]) == (None, hub.url)
    assert "no revision 'v9'" in revision["error"]
    assert "answered 500" in refused["error"]
    text = (tmp_path / "cache/workbench/fetch.jsonl").read_text()
    assert "hf_a_secret" not in text
    assert str(tmp_path) not in text


def archive(branch, files, commit="e" * 40):
    """A branch as GitHub packs it: below one folder, with the commit as a comment."""
    packed = io.BytesIO()
    with tarfile.open(
        fileobj=packed, mode="w:gz", format=tarfile.PAX_FORMAT, pax_headers={"comment": commit}
    ) as made:
        for name, content in files.items():
            member = tarfile.TarInfo(f"promptsource-{branch}/{name}")
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return packed.getvalue()


TEMPLATES = b"""dataset: xcopa
templates:
  1: !Template
    answer_choices: '{{choice1}} ||| {{choice2}}'
    jinja: '{{ premise }} ||| {{ answer_choices[label] }}'
    name: plain
"""


@pytest.fixture
def prompts(hub):
    for branch, repository in ARCHIVES.items():
        files = {
            "LICENSE": b"Apache License", "setup.py": b"raise SystemExit",
            "promptsource/templates/xcopa/en/templates.yaml": TEMPLATES, "../../outside/promptsource/templates/templates.yaml": TEMPLATES,
        }  # fmt: skip
        hub.archives[f"{repository}/tar.gz/refs/heads/{branch}"] = archive(branch, files)
    return hub


def test_both_branches_of_promptsource_are_fetched_once_with_their_licence(prompts, tmp_path, capfd):
    said = ended(capfd, "fetch", "promptsource", "--json")
    main_branch, crosslingual = json.loads(said.out)
    assert (main_branch["commit"], crosslingual["revision"]) == ("e" * 40, "xp3mt")
    assert "Apache-2.0" in said.err
    folder = prompts_folder("xp3mt")
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {
        "LICENSE",
        "templates.yaml",
        ".fetched.json",
    }
    assert [one.name for one in read_promptsource(folder, "xcopa", "en")] == ["plain"]
    assert not list(tmp_path.rglob("outside"))
    prompts.served.clear()
    assert ended(capfd, "fetch", "promptsource").code == 0
    assert [one.status for one in prompts.served] == [304, 304]


def test_without_github_an_earlier_download_serves_and_else_the_message_says_what_to_copy(
    prompts, monkeypatch, capfd
):
    monkeypatch.setattr("workbench.downloads.github.HOST", "http://127.0.0.1:9")
    said = ended(capfd, "fetch", "promptsource")
    assert (said.code, said.out, said.err.count("\n")) == (5, "", 1)
    assert f"copy {prompts_folder('main')} here" in said.err
    monkeypatch.setattr("workbench.downloads.github.HOST", prompts.url)
    ended(capfd, "fetch", "promptsource")
    prompts.answer["tar.gz"] = 502
    assert "GitHub answered 502" in ended(capfd, "fetch", "promptsource").err
    monkeypatch.setattr("workbench.downloads.github.HOST", "http://127.0.0.1:9")
    assert "an earlier download is here" in ended(capfd, "fetch", "promptsource").err
    assert [one.name for one in read_promptsource(prompts_folder("main"), "xcopa", "en")] == ["plain"]
