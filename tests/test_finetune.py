"""Laws of a whole finetuning: pairs of a mixture, settings, checkpoints on disk, and the command."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from workbench import cli, family, generate, load, rank, training
from workbench.errors import BadInput, StoreFailed, UnknownName
from workbench.store import Store
from workbench.tasks import Item
from workbench.training import Batches, Plan, Reader, loss_of, mixtures, settings_for
from workbench.training.mixtures import Pair


@pytest.fixture(params=["bloom", "mt5"])
def architecture(request):
    return request.param


# --- pairs of a mixture ----------------------------------------------------------------------------------------------

LENGTHS = [3, 40, 5, 33, 8, 28, 2, 21]


class Fixed:
    """A pool that draws the same pairs at every step."""

    def draw(self, step, count):
        return [Pair("The cat sat. " * n, "Paka " * (1 + n % 3)) for n in LENGTHS][:count]


def batches(checkpoints, architecture, **changes):
    handle = load(str(checkpoints[architecture]), device="cpu")
    reader = Reader(
        handle.hf.tokenizer, handle.is_encoder_decoder, **{"max_input": 900, "max_target": 50, **changes}
    )
    return handle, lambda parts: Batches(Fixed(), reader, 8, parts)


def test_a_pair_is_joined_as_the_published_models_were_taught(checkpoints, architecture):
    handle, make = batches(checkpoints, architecture)
    tokenizer = handle.hf.tokenizer
    [source, target] = make(1).reader.encode([Pair("Le chat dort.", "yes")], make(1).tally)[0]
    assert tokenizer.decode(source) == "Le chat dort."
    assert tokenizer.decode(target) == (" yes</s>" if architecture == "bloom" else "yes</s>")
    assert tokenizer.eos_token_id not in source


def test_grouping_by_length_leaves_the_loss_and_saves_padding(checkpoints, architecture):
    handle, make = batches(checkpoints, architecture)
    whole, grouped = make(1), make(4)
    losses = [sum(loss_of(handle.hf.model, part).item() for part in each(0)) for each in (whole, grouped)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert whole.tally["tokens"] == grouped.tally["tokens"]
    assert grouped.tally["padding"] < 0.5 * whole.tally["padding"]


def test_what_is_cut_is_counted_and_a_cut_target_does_not_end(checkpoints, architecture):
    _, make = batches(checkpoints, architecture, max_input=60, max_target=4)
    made = make(1)
    sources, targets = zip(*made.reader.encode(Fixed().draw(0, 8), made.tally), strict=True)
    end = made.reader.tokenizer.eos_token_id
    assert made.tally["inputs_cut"] == sum(len(source) == 60 for source in sources) == 4
    assert made.tally["targets_cut"] == sum(target[-1] != end for target in targets) > 0
    assert max(map(len, targets)) == 4


def test_twin_nothing_is_cut_where_there_is_room(checkpoints, architecture):
    _, make = batches(checkpoints, architecture)
    made = make(2)
    made(0)
    assert (made.tally["pairs"], made.tally["inputs_cut"], made.tally["targets_cut"]) == (8, 0, 0)


# --- settings --------------------------------------------------------------------------------------------------------


def base(name: str, room: int = 2048):
    handle = load("mini-bloom" if "bloom" in name else "mini-mt5")
    return replace(handle.identity, name=name, context_length=room)


def test_the_presets_are_the_published_settings():
    bloomz = settings_for(base("bloom-7b1"), "bloomz")
    assert bloomz.plan == Plan(
        1000, 2e-5, warmup=0, decay=0.0, weight_decay=1e-4, betas=(0.9, 0.95), clip=1.0
    )
    assert [bloomz.plan.rate(step) for step in (0, 500, 999)] == [2e-5] * 3
    assert (bloomz.batch, bloomz.max_input + bloomz.max_target) == (2048, 2048)
    assert settings_for(base("bigscience/bloom-560m"), "bloomz").batch == 1024
    mt0 = settings_for(base("mt5-small", 1024), "mt0", learning_rate=1e-3)
    assert (mt0.batch, mt0.max_input, mt0.max_target, mt0.plan.steps) == (512, 1024, 1024, 25_000)
    assert family.find("bloomz-7b1").steps == 1000


def test_what_a_preset_does_not_know_must_be_given():
    with pytest.raises(BadInput, match="no learning_rate for mt5-small; give --learning-rate"):
        settings_for(base("mt5-small", 1024), "mt0")
    with pytest.raises(BadInput, match="no steps for my-bloom; give --steps"):
        settings_for(base("my-bloom"), "bloomz")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch": 0}, "batch is 0"),
        ({"accumulate": 65}, "more than the 64 pairs"),
        ({"learning_rate": 3.0}, "between 0 and 1"),
        ({"dtype": "float16"}, "float16 overflows"),
        ({"max_input": 5000}, "takes 2048 tokens together"),
        ({"max_target": 4096}, "takes 2048 tokens together"),
        ({"epochs": 3}, "no setting called 'epochs'"),
        ({"preset": "flan"}, "choose one of: bloomz, mt0"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(given, message):
    with pytest.raises((BadInput, StoreFailed, UnknownName), match=message):
        settings_for(base("bloom-560m"), **given)


def test_micro_batches_have_16_rows_at_most_unless_said():
    settings = settings_for(base("bloom-560m"), batch=100)
    assert [settings.parts(processes) for processes in (1, 2, 4)] == [7, 8, 8]
    assert replace(settings, accumulate=3).parts(2) == 6
    with pytest.raises(BadInput, match="101 processes"):
        settings.parts(101)


# --- a whole finetuning ----------------------------------------------------------------------------------------------

WORDS = ["cat", "mat", "chat", "tapis", "paka", "gato"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A mixture in xP3's layout that can be learned: say the word in front again."""
    folder = tmp_path_factory.mktemp("data")
    for language in ("en", "fr", "sw"):
        made = [
            Pair(f"{w} {n}: say the first word in {language}." + " Please." * (n % 4), w)
            for w in WORDS
            for n in range(5)
        ]
        mixtures.write(folder, language, mixtures.file_name("echo", None, "train", "first word"), made)
    return folder


def run_cli(*words):
    result = CliRunner().invoke(cli.app, ["finetune", *map(str, words)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


QUICK = ["--steps", 60, "--batch", 16, "--learning-rate", 3e-3, "--languages", "en,fr"]


@pytest.mark.parametrize("side", ["bloom", "mt5"])
def test_a_model_of_the_real_classes_is_finetuned_from_the_real_layout(side, checkpoints, data, tmp_path):
    out = tmp_path / "tuned"
    run_cli(checkpoints[side], data, "--out", out, *QUICK, "--accumulate", 2)
    record = json.loads((out / "training.json").read_text())
    assert len(record["losses"]) == 60
    assert sum(record["losses"][-5:]) < 0.5 * sum(record["losses"][:5])
    assert record["tally"]["pairs"] == 60 * 16
    assert not list(tmp_path.glob(".*"))
    [answer] = generate(
        load(str(out), device="cpu"), [Pair("cat 1: say the first word in en.", "").inputs], max_new_tokens=5
    )
    assert (
        answer.text
        != generate(load(str(checkpoints[side])), ["cat 1: say the first word in en."], max_new_tokens=5)[
            0
        ].text
    )
    found = load(str(out), device="cpu").hf.model
    if side == "mt5":
        assert not torch.equal(found.lm_head.weight, found.shared.weight)


def test_a_finished_one_is_left_and_another_refused(checkpoints, data, tmp_path):
    words = [checkpoints["bloom"], data, "--out", tmp_path / "tuned", "--steps", 2, "--batch", 4]
    run_cli(*words)
    before = (tmp_path / "tuned/training.json").stat().st_mtime_ns
    run_cli(*words)
    assert (tmp_path / "tuned/training.json").stat().st_mtime_ns == before
    with pytest.raises(BadInput, match=r"another finetuning \(seed 0, now 5; steps 2, now 3; other data\)"):
        run_cli(*words, "--steps", 3, "--seed", 5)
    (tmp_path / "other").mkdir()
    with pytest.raises(BadInput, match="does not hold a finetuning"):
        run_cli(*words, "--out", tmp_path / "other")


@pytest.mark.parametrize("name", family.shipped())
def test_a_miniature_can_be_finetuned_further(name, data, tmp_path):
    settings = settings_for(load(name).identity, steps=2, batch=4)
    out = training.finetune(
        load(name, device="cpu"), mixtures.read(str(data)), tmp_path / name, settings, show=False
    )
    assert next(load(str(out), device="cpu").hf.model.parameters()).dtype == torch.float32
    assert len(generate(load(str(out), device="cpu"), ["Anna smiles."], max_new_tokens=2)) == 1


SAID = [Item("0", "cat 1: say the first word in en.", ("cat", "gato", "paka"), 0)]


def scores_of(handle, path) -> list[float]:
    """The scores that a handle computes for an empty store."""
    handle.store = Store(path)
    return rank(handle, SAID, protocol="xmtf")["scores"][0]


@pytest.mark.parametrize("case", ["to the end", "interrupted"])
def test_a_handle_answers_as_its_base_after_its_finetuning(
    architecture, case, checkpoints, data, tmp_path, monkeypatch
):
    """The trained weights stayed in the handle, and its answers went into the store as those of the base."""
    handle = load(str(checkpoints[architecture]), device="cpu")
    before = scores_of(handle, tmp_path / "before.sqlite")
    settings = settings_for(handle.identity, steps=3, batch=4, learning_rate=1e-2)
    given = handle, mixtures.read(str(data)), tmp_path / "tuned", settings
    if case == "interrupted":
        monkeypatch.setattr("workbench.training.finetuning._write", interrupt)
        with pytest.raises(KeyboardInterrupt):
            training.finetune(*given, show=False)
    else:
        tuned = load(str(training.finetune(*given, show=False)), device="cpu")
        twin = scores_of(tuned, tmp_path / "tuned.sqlite")
        assert twin != pytest.approx(before, abs=1e-2)  # the weights did change
    assert scores_of(handle, tmp_path / "after.sqlite") == pytest.approx(before, abs=1e-6)


def interrupt(*_):
    raise KeyboardInterrupt


def test_a_broken_line_is_named_before_anything_is_trained(checkpoints, data, tmp_path):
    mixtures.write(tmp_path / "data", "en", "a.jsonl", [Pair("a", "b")] * 9)
    with (tmp_path / "data/en/a.jsonl").open("a") as file:
        file.write('{"inputs": "a"}\n')
    with pytest.raises(BadInput, match="line 10 lacks the key 'targets'"):
        run_cli(checkpoints["bloom"], tmp_path / "data", "--out", tmp_path / "tuned", "--steps", 1)
    assert not (tmp_path / "tuned").exists()
    assert not list(tmp_path.glob(".*"))


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parent))
import test_finetune
test_finetune.forty_steps(*map(Path, sys.argv[2:]))
"""


def forty_steps(base: Path, data: Path, out: Path) -> None:
    """A finetuning that writes a checkpoint after every step."""
    handle = load(str(base), device="cpu")
    settings = settings_for(handle.identity, steps=40, batch=8, learning_rate=1e-3, accumulate=2)
    training.finetune(handle, mixtures.read(str(data)), out, settings, show=False, every_seconds=0)


def loud(folder: Path, checkpoints, side: str) -> Path:
    """A copy of a checkpoint that drops out, so that noise must come back too."""
    model = load(str(checkpoints[side]), device="cpu").hf
    for name in ("dropout_rate", "hidden_dropout", "attention_dropout"):
        if hasattr(model.model.config, name):
            setattr(model.model.config, name, 0.2)
    model.model.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("side", ["bloom", "mt5"])
def test_a_killed_finetuning_goes_on_to_the_same_result(side, checkpoints, data, tmp_path):
    base = loud(tmp_path / "base", checkpoints, side)
    process = subprocess.Popen([sys.executable, "-c", KILLED, __file__, base, data, tmp_path / "killed"])
    checkpoint = tmp_path / ".killed.training" / "training.pt"
    while process.poll() is None and not checkpoint.exists():
        time.sleep(0.005)
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 0 < len(torch.load(checkpoint, weights_only=True)["losses"]) < 40
    for name in ("whole", "killed"):
        forty_steps(base, data, tmp_path / name)
    first, second = (
        json.loads((tmp_path / name / "training.json").read_text()) for name in ("whole", "killed")
    )
    assert first == second
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]
