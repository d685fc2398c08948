"""`workbench convert --to gguf`: what is written, what is checked, and what is not kept."""

from importlib.util import find_spec

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

from tests.conftest import TEXTS
from workbench.cli import app
from workbench.errors import BadInput
from workbench.gguf_header import read_header

pytestmark = pytest.mark.skipif(
    not (find_spec("llama_cpp") and find_spec("gguf")),
    reason="needs llama.cpp, of the extra `gguf` (make gguf-tests)",
)
if find_spec("llama_cpp") and find_spec("gguf"):
    from workbench.engines.gguf import converting
    from workbench.engines.gguf.tokenizing import ids_in_llama
    from workbench.engines.gguf.vocabulary import vocabulary_of
    from workbench.engines.gguf.writing import write_vocabulary


@pytest.fixture(autouse=True)
def few_texts(monkeypatch):
    if find_spec("llama_cpp"):
        monkeypatch.setattr(converting, "_TEXTS", 6)


@pytest.mark.parametrize("side", ["bloom", "mt5"])
def test_a_quantized_file_holds_the_type_and_lies_within_its_bound(checkpoints, tmp_path, side):
    made = converting.to_gguf(str(checkpoints[side]), tmp_path / "x.gguf", kind="Q8_0")
    assert "Q8_0" in made.types
    assert 0 < made.mean < 0.2
    assert [path.name for path in tmp_path.iterdir()] == ["x.gguf"]
    assert read_header(made.file).file_type == "Q8_0"


def test_a_file_that_does_not_give_what_the_checkpoint_gives_is_not_kept(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.engines.gguf.writing.in_llama_order", lambda name, values, heads: values)
    with pytest.raises(BadInput, match=r"nats per token on average.*not kept"):
        converting.to_gguf(str(checkpoints["bloom"]), tmp_path / "x.gguf", kind="F32")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_refused_before_any_work(checkpoints, tmp_path):
    (tmp_path / "there.gguf").write_bytes(b"")
    for output, kind, message in (
        ("there.gguf", "F16", "already exists"),
        ("x.bin", "F16", "ends in .gguf"),
        ("x.gguf", "Q9", "no type 'Q9'"),
    ):
        with pytest.raises(BadInput, match=message):
            converting.to_gguf(str(checkpoints["bloom"]), tmp_path / output, kind=kind)


def test_the_command_says_what_it_wrote_and_how_to_load_it(checkpoints, tmp_path):
    out = tmp_path / "x.gguf"
    told = CliRunner().invoke(
        app, ["convert", str(checkpoints["bloom"]), "--to", "gguf", "--type", "F16", "--output", str(out)]
    )
    assert told.exit_code == 0
    assert "tensors in F16, F32" in told.stdout
    assert f"x.gguf#{checkpoints['bloom']}" in told.stderr.replace("\n", "")


def unigram():
    """A tokenizer of sentencepiece's kind, as mT5 has."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=150, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def test_a_unigram_tokenizer_makes_the_same_ids_in_llama_cpp(tmp_path):
    tokenizer = unigram()
    written = vocabulary_of(tokenizer, 160, is_encoder_decoder=False)
    assert (written.model, written.tokens[-1]) == ("t5", "[PAD159]")
    write_vocabulary(tmp_path / "v.gguf", "t5", written)
    assert ids_in_llama(tmp_path / "v.gguf", TEXTS) == tokenizer(TEXTS)["input_ids"]
