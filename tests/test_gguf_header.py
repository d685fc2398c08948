"""GGUF files without llama.cpp: headers, names, and what is refused before anything is read."""

import pytest
from typer.testing import CliRunner

from tests.gguf_files import gguf_file
from workbench import load
from workbench.cli import app
from workbench.engines.gguf import llama
from workbench.errors import BadInput, UnknownName
from workbench.family import badge_of, declared_checkpoint, gguf_name, is_gguf
from workbench.gguf_header import read_header
from workbench.models.engines import engine_for
from workbench.models.gguf import place_of

FIELDS = {
    "general.architecture": "bloom",
    "general.name": "Mini-Bloomz",
    "general.file_type": 7,
    "tokenizer.ggml.tokens": ["a", "é"],
}
TENSORS = [("token_embd.weight", (2, 32)), ("output_norm.weight", (32,))]


@pytest.fixture
def file(tmp_path):
    return gguf_file(tmp_path / "x.gguf", FIELDS, TENSORS)


def test_the_header_gives_fields_and_tensors_and_long_arrays_only_where_asked_for(file):
    header = read_header(file, ("tokenizer.ggml.tokens",))
    assert (header.architecture, header.file_type) == ("bloom", "Q8_0")
    assert header.fields["tokenizer.ggml.tokens"] == ["a", "é"]
    assert read_header(file).fields["tokenizer.ggml.tokens"] is None
    assert {name: each.shape for name, each in header.tensors.items()} == dict(TENSORS)
    assert header.values_by_type == {"F32": 96}
    assert header.bytes_of_weights == 4 * 96


def test_a_file_that_ends_anywhere_too_early_is_refused(file):
    whole = file.read_bytes()
    for length in (*range(0, len(whole), 7), len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(BadInput, match=r"x\.gguf"):
            read_header(file)
    file.write_bytes(whole)  # the twin
    read_header(file)


def test_lengths_that_lie_are_refused(file):
    whole = bytearray(file.read_bytes())
    for place in range(4, 120):
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        file.write_bytes(broken)
        try:
            read_header(file)
        except BadInput:
            continue


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("x.gguf", ("x.gguf", None, "")),
        ("x.gguf#mini-bloomz", ("x.gguf", None, "mini-bloomz")),
        ("QuantFactory/bloomz-560m-GGUF:Q8_0", ("Q8_0", "QuantFactory/bloomz-560m-GGUF", "")),
        ("o/r:b.Q4_K_M.gguf#mt0-small", ("b.Q4_K_M.gguf", "o/r", "mt0-small")),
    ],
)
def test_names_of_files_and_of_files_in_repositories(name, parts):
    found = gguf_name(name)
    assert is_gguf(name)
    assert (found.file, found.hub_id, found.checkpoint) == parts
    assert engine_for(name) == "gguf"


@pytest.mark.parametrize("name", ["bloomz-560m", "bigscience/bloomz", "folder", "http://h:80/v1#x.gguf"])
def test_other_names_are_no_gguf(name):
    assert not is_gguf(name)


def test_the_checkpoint_follows_from_the_name_or_from_what_the_file_states(file):
    assert declared_checkpoint(f"{file}#mini-mt0") == "mini-mt0"
    assert declared_checkpoint(str(file)) == "mini-bloomz"
    assert declared_checkpoint("QuantFactory/bloomz-560m-GGUF:Q8_0") == "bloomz-560m"
    assert badge_of(str(file)) == "SYNTHETIC"
    assert badge_of("QuantFactory/bloomz-560m-GGUF:Q8_0") == "MEASURED"
    silent = gguf_file(file.with_name("silent.gguf"), {"general.architecture": "bloom"})
    assert badge_of(str(silent)) == "MEASURED"


def test_what_cannot_be_loaded_is_refused_before_any_weight_is_read(file, store):
    other = gguf_file(file.with_name("other.gguf"), {"general.architecture": "llama"})
    for arguments, options, message in (
        ((str(other),), {}, "'llama'; GGUF files of BLOOM and mT5"),
        ((str(file),), {"dtype": "bfloat16"}, "its precision in the file"),
        ((str(file),), {"quantization": "8bit"}, "has no quantization"),
        ((str(file),), {"revision": "main"}, "has no revisions"),
        (("mini-bloomz",), {"tokenizer": "mini-mt0"}, "is for a GGUF file"),
    ):
        with pytest.raises(BadInput, match=message):
            load(*arguments, store=store, **options)
    with pytest.raises(UnknownName, match="there is no file"):
        load(str(file.with_name("missing.gguf")))


def test_a_file_of_the_other_architecture_than_its_tokenizer_is_refused(file, store):
    with pytest.raises(BadInput, match="tokenizer of a mt5"):
        _ = load(str(file), tokenizer="mini-mt0", store=store).identity


def test_a_file_that_states_no_checkpoint_asks_for_one(file, store):
    silent = gguf_file(file.with_name("silent.gguf"), {"general.architecture": "bloom"})
    with pytest.raises(BadInput, match="tokenizer='bloomz-560m'"):
        _ = load(str(silent), store=store).identity
    assert load(str(silent), tokenizer="mini-bloomz", store=store).identity.architecture == "bloom"


def test_without_llama_cpp_the_error_says_what_to_install(file, store, monkeypatch):
    llama.library.cache_clear()
    monkeypatch.setattr(llama, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"pip install 'workbench\[gguf\]'"):
        load(str(file), store=store).fresh_engine()


def test_models_describes_a_file(file):
    told = CliRunner().invoke(app, ["models", str(file)]).output
    assert "F32" in told
    assert "stated type Q8_0, made of mini-bloomz" in told


def test_a_type_that_is_at_the_end_of_one_name_selects_a_file_of_a_repository(
    hub_cache, fill_hub_cache, tmp_path
):
    folder = tmp_path / "repository"
    folder.mkdir()
    for kind in ("Q4_0", "Q4_K_M", "Q8_0"):
        gguf_file(folder / f"bloomz-560m.{kind}.gguf", FIELDS)
    fill_hub_cache(folder, "o/bloomz-560m-GGUF")
    assert place_of("o/bloomz-560m-GGUF:q4_k_m", None).path.name == "bloomz-560m.Q4_K_M.gguf"
    assert place_of("o/bloomz-560m-GGUF:Q4_K", None).path is None
