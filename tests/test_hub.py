"""Names, and what a real cache of the hub's client holds: parts, revisions, pickles; no network is asked."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig
from transformers.models.auto import modeling_auto
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES, tokenizer_class_from_name

from workbench.cli import main
from workbench.engines.transformers.convert import to_safetensors
from workbench.errors import BadInput, NotReachable, UnknownName
from workbench.inference.generation import generate
from workbench.models import load
from workbench.models.folders import TOKENIZER, VOCABULARIES
from workbench.models.places import whereabouts

PROMPTS = ["The cat sat on the mat."]
SIDES = {"bloom": ("bloomz-560m", "bigscience/bloomz-560m"), "mt5": ("mt0-small", "bigscience/mt0-small")}


@pytest.fixture(params=SIDES)
def hub(request, checkpoints, tmp_path):
    """(short name, hub id, a copy of the checkpoint's folder) of each architecture in turn."""
    return *SIDES[request.param], shutil.copytree(checkpoints[request.param], tmp_path / "made")


def answers(name, store, **options):
    return generate(load(name, device="cpu", store=store, **options), PROMPTS, max_new_tokens=4)


def as_pickle(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def test_pickled_weights_in_the_cache_are_named_with_the_command_that_converts_them(
    hub, fill_hub_cache, tmp_path, store
):
    name, hub_id, folder = hub
    expected = answers(folder, store)
    as_pickle(folder)
    fill_hub_cache(folder, hub_id)
    assert whereabouts(name) == "as .bin only: convert"
    with pytest.raises(
        BadInput, match=rf"workbench convert {name} --to safetensors.*`workbench fetch {name}`"
    ):
        answers(name, store)
    assert answers(to_safetensors(name, tmp_path / "out"), store) == expected


def test_stored_answers_are_found_where_the_weights_are_only_pickled(hub, fill_hub_cache, store):
    name, hub_id, folder = hub
    root = fill_hub_cache(folder, hub_id)
    expected = answers(name, store)
    shutil.rmtree(root)
    as_pickle(folder)
    fill_hub_cache(folder, hub_id)
    assert answers(name, store) == expected


@pytest.mark.parametrize("lost", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_download_that_was_interrupted_is_named_with_what_it_lacks(lost, hub, fill_hub_cache, store):
    name, hub_id, folder = hub
    root = fill_hub_cache(folder, hub_id)
    link = root / "snapshots" / ("c" * 40) / lost
    blob = link.resolve()
    blob.rename(blob.with_name(blob.name + ".0f1e2d3c.incomplete"))
    assert whereabouts(name) == "in part"
    with pytest.raises(
        NotReachable, match=rf"only partly in the hub's cache \(it lacks .*{lost}.*workbench fetch {name}"
    ):
        answers(name, store)
    link.unlink()
    assert whereabouts(name) == "in part"


def test_a_revision_is_a_branch_a_commit_or_its_beginning(hub, fill_hub_cache, store):
    name, hub_id, folder = hub
    first, second = "ab" * 20, "cd" * 20
    fill_hub_cache(folder, hub_id, first, ref="v1")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 1, "note": "another"}))
    fill_hub_cache(folder, hub_id, second)
    found = {revision: load(name, revision=revision, store=store).identity.commit for revision in (None, "main", "v1", first, "abab", second[:7])}  # fmt: skip
    assert list(found.values()) == [second, second, first, first, first, second]
    with pytest.raises(BadInput, match="is not a valid revision"):
        load(name, revision="../../elsewhere", store=store)


def test_a_cache_without_the_branch_names_the_commits_that_it_has(hub, fill_hub_cache, store):
    name, hub_id, folder = hub
    fill_hub_cache(folder, hub_id, "ab" * 20, ref=None)
    with pytest.raises(NotReachable, match=f"only at {'ab' * 20} .name one as the revision"):
        answers(name, store)
    assert answers(name, store, revision="ababab")


def test_a_folder_of_the_models_name_is_pointed_to_and_never_taken_for_it(
    hub, hub_cache, tmp_path, store, monkeypatch
):
    name, _, folder = hub
    folder.rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotReachable, match=rf"to load the folder of that name, give '\./{name}'"):
        answers(name, store)
    assert answers(f"./{name}", store) == answers(Path(name), store) == answers(tmp_path / name, store)


def test_loading_writes_nothing_into_the_cache(hub, fill_hub_cache, store):
    """It may be shared and read-only."""
    name, hub_id, folder = hub
    root = fill_hub_cache(folder, hub_id)
    state = lambda: {path: path.lstat().st_mtime_ns for path in root.rglob("*")}  # noqa: E731
    before = state()
    answers(name, store)
    assert state() == before


def test_a_cache_of_copies_instead_of_links_is_the_same_model(hub, fill_hub_cache, store):
    name, hub_id, folder = hub
    root = fill_hub_cache(folder, hub_id)
    linked = load(name, store=store).identity
    for link in (root / "snapshots" / ("c" * 40)).iterdir():
        content = link.read_bytes()
        link.unlink()
        link.write_bytes(content)
    assert load(name, store=store).identity == linked


@pytest.mark.parametrize("name", ["", "x" * 5000, "~nosuchuser/model", "a--b/c", "a/b/c", "é/è", "no/\0body", "../nowhere/at/all"])  # fmt: skip
def test_a_name_that_can_be_no_models_is_unknown(name, store):
    with pytest.raises(UnknownName):
        load(name, store=store)


@pytest.mark.parametrize("name", [None, 3, b"mini-mt0", ["mini-mt0"]])
def test_a_name_that_is_no_text_is_refused(name, store):
    with pytest.raises(BadInput, match="the name is"):
        load(name, store=store)
    with pytest.raises(BadInput, match="the revision is"):
        load("bloomz-560m", revision=name or 3, store=store)


def test_a_file_is_refused_and_its_folder_named(hub, store):
    with pytest.raises(BadInput, match="is a file; name the folder"):
        load(hub[2] / "config.json", store=store)


def test_float16_is_refused_at_once_where_it_overflows(checkpoints, hub_cache, store):
    """Twin: where it does not, it is taken."""
    for name in ("mt0-small", "google/mt5-xl", "mini-mt0", checkpoints["mt5"]):
        with pytest.raises(BadInput, match="bfloat16 or float32"):
            load(name, dtype="float16", store=store)
    for name in ("bloomz-560m", checkpoints["bloom"], "someone/unknown-yet"):
        load(name, dtype="float16", store=store)


def test_every_file_that_a_tokenizer_of_a_generating_model_reads_is_digested():
    kinds = {
        *modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        *modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    }
    names = {
        TOKENIZER_MAPPING_NAMES.get(kind)
        for kind in kinds
        if isinstance(TOKENIZER_MAPPING_NAMES.get(kind), str)
    }
    classes = [found for name in sorted(names) if (found := tokenizer_class_from_name(name)) is not None]
    assert len(classes) > 15
    read = {file for each in classes for file in (getattr(each, "vocab_files_names", None) or {}).values()}
    assert {"spiece.model", "tokenizer.json", "target.spm"} <= read
    assert read <= set(TOKENIZER)
    assert set(VOCABULARIES) < set(TOKENIZER)


@pytest.mark.parametrize(("case", "code"), [("absent", 5), ("pickled", 2), ("float16", 2)])
def test_the_command_line_says_so_in_one_sentence(case, code, hub, fill_hub_cache, store, monkeypatch, capfd):
    name, hub_id, folder = hub
    if case == "pickled":
        as_pickle(folder)
        fill_hub_cache(folder, hub_id)
    options = ["--dtype", "float16"] if case == "float16" else []
    monkeypatch.setenv("WORKBENCH_STORE", str(store.path))
    monkeypatch.setattr(
        "sys.argv", ["workbench", "generate", "mt0-small" if options else name, "Hello.", *options]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    out, error = capfd.readouterr()
    assert (ended.value.code, out, error.count("\n")) == (code, "", 1)
    assert re.match(r"error: .*(workbench fetch|workbench convert|bfloat16)", error)
    assert os.fspath(folder) not in error


def test_code_from_others_is_not_even_offered(hub, store):
    """transformers would ask on the terminal whether to run it."""
    folder = hub[2]
    config = AutoConfig.from_pretrained(folder).to_dict()
    (folder / "own.py").write_text("raise SystemExit('ran')")
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}))  # fmt: skip
    with pytest.raises(BadInput, match="custom code"):
        answers(folder, store)
