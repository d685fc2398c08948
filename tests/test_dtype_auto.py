"""dtype="auto" takes the dtype of the published weights, before the key is made; nothing is read for it but config.json."""

import json
import shutil

import pytest

from workbench import generate, load
from workbench.errors import BadInput


def declared(checkpoint, folder, **fields):
    shutil.copytree(checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    for name in ("dtype", "torch_dtype"):
        config.pop(name, None)
    (folder / "config.json").write_text(json.dumps({**config, **fields}))
    return folder


@pytest.mark.parametrize(
    ("fields", "dtype"),
    [
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"torch_dtype": "float32"}, "float32"),
        ({}, "float32"),
    ],
)
def test_it_is_what_config_json_says(checkpoints, store, tmp_path, fields, dtype):
    folder = declared(checkpoints["bloom"], tmp_path / "copy", **fields)
    handle = load(folder, dtype="auto", store=store, device="cpu")
    assert handle.dtype == dtype
    generate(handle, ["The cat"], max_new_tokens=2)
    named = load(folder, dtype=dtype, store=store, device="cpu")
    generate(named, ["The cat"], max_new_tokens=2)
    assert (named.tally.hits, named.fingerprint("generate")) == (1, handle.fingerprint("generate"))


def test_an_mt5_in_float16_is_loaded_in_float32_and_a_bloom_is_not(checkpoints, store, tmp_path):
    with pytest.warns(UserWarning, match="in which mT5 overflows: it is loaded in float32"):
        assert load("mini-mt0", dtype="auto", store=store).dtype == "float32"
    folder = declared(checkpoints["bloom"], tmp_path / "copy", dtype="float16")
    assert load(folder, dtype="auto", store=store).dtype == "float16"


@pytest.mark.parametrize(
    ("name", "dtype"), [("bloomz-560m", "float16"), ("bloomz", "bfloat16"), ("mt0-small", "float32")]
)
def test_the_catalogue_knows_it_where_the_files_are_not_here(hub_cache, store, name, dtype):
    assert load(name, dtype="auto", store=store).dtype == dtype


def test_what_is_not_known_here_or_not_offered_is_refused(checkpoints, hub_cache, store, tmp_path):
    with pytest.raises(
        BadInput, match="not on this machine; name a dtype, or fetch it first: hf download someone/else"
    ):
        load("someone/else", dtype="auto", store=store)
    folder = declared(checkpoints["mt5"], tmp_path / "copy", dtype="float64")
    with pytest.raises(BadInput, match="published in float64; choose one of: float32, bfloat16, float16"):
        load(folder, dtype="auto", store=store)
