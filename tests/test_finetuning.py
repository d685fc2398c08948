"""Laws of the training loop, each with a twin that shows the check can fail."""

import contextlib
import json
import math
import os
import random
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from miniatures.architectures import new_model
from workbench import load, training
from workbench.engines.transformers.gelu import one_kernel
from workbench.errors import BadInput, StoreFailed
from workbench.training import (
    IGNORED,
    Batch,
    Options,
    Plan,
    corrupt,
    cut,
    draw_spans,
    loss_of,
    mixtures,
    next_token_batch,
    pairs_batch,
    settings_for,
    train,
)
from workbench.training.mixtures import Pair

VOCABULARY = 40
PAIRS = [([5, 6, 7], [8, 3]), ([9, 10], [11, 12, 13, 3]), ([14], [15, 3])]


def tiny(architecture: str, seed: int = 0):
    torch.manual_seed(seed)
    return new_model(architecture, VOCABULARY).eval()


def batch_of(architecture: str, pairs=PAIRS) -> Batch:
    return pairs_batch(pairs, pad=3 if architecture == "bloom" else 0, encoder_decoder=architecture == "mt5")


@pytest.fixture(params=["bloom", "mt5"])
def architecture(request):
    return request.param


def gelus(model):
    return [module for module in model.modules() if "gelu" in type(module).__name__.lower()]


def loss_and_gradients(model, batch):
    model.zero_grad()
    loss = loss_of(model, batch)
    loss.backward()
    return torch.cat([loss.detach()[None], *(each.grad.flatten() for each in model.parameters())])


def test_gelu_by_one_kernel_gives_the_losses_and_gradients_of_transformers(architecture):
    model, batch = tiny(architecture).train(), batch_of(architecture)
    own = gelus(model)
    wanted = loss_and_gradients(model, batch)
    with one_kernel(model):
        assert own
        assert not set(own) & set(gelus(model))
        torch.testing.assert_close(loss_and_gradients(model, batch), wanted, rtol=1e-4, atol=1e-6)
    assert gelus(model) == own


def test_twin_another_gelu_gives_other_losses_and_gradients(architecture):
    model, batch = tiny(architecture).train(), batch_of(architecture)
    wanted = loss_and_gradients(model, batch)
    with one_kernel(model):
        for module in gelus(model):
            module.approximate = "none"
        with pytest.raises(AssertionError):
            torch.testing.assert_close(loss_and_gradients(model, batch), wanted, rtol=1e-4, atol=1e-6)


def test_the_first_loss_is_near_the_log_of_the_vocabulary(architecture):
    assert loss_of(tiny(architecture), batch_of(architecture)).item() == pytest.approx(
        math.log(VOCABULARY), abs=1.0
    )


def test_the_parts_of_a_batch_add_up_to_it_and_hold_less_padding(architecture):
    rng = random.Random(0)
    pairs = [([rng.randrange(4, 40) for _ in range(rng.randint(1, 20))], [5, 6, 3]) for _ in range(30)]
    whole, model = batch_of(architecture, pairs), tiny(architecture)
    parts = cut(whole, 3)
    assert sum(loss_of(model, part).item() for part in parts) == pytest.approx(loss_of(model, whole).item())
    assert sum(part.input_ids.numel() for part in parts) < 0.8 * whole.input_ids.numel()
    assert sum(int(part.attention_mask.sum()) for part in parts) == int(whole.attention_mask.sum())


def test_twin_a_part_cut_too_short_does_not_add_up(architecture):
    whole, model = batch_of(architecture), tiny(architecture)
    first, *others = cut(whole, 3)
    shorter = Batch(first.input_ids, first.attention_mask, first.labels, first.weights / 2)
    total = sum(loss_of(model, part).item() for part in (shorter, *others))
    assert total != pytest.approx(loss_of(model, whole).item())


def test_every_target_counts_the_same_whatever_its_length(architecture):
    model = tiny(architecture)
    together = loss_of(model, batch_of(architecture)).item()
    alone = [loss_of(model, batch_of(architecture, [pair])).item() for pair in PAIRS]
    assert together == pytest.approx(sum(alone) / len(alone), abs=1e-5)


def test_twin_a_loss_per_token_would_differ(architecture):
    model, batch = tiny(architecture), batch_of(architecture)
    per_token = replace(batch, weights=torch.full_like(batch.weights, 1 / (batch.labels != IGNORED).sum()))
    assert abs(loss_of(model, per_token).item() - loss_of(model, batch).item()) > 1e-4


def test_labels_on_the_prompt_side_change_nothing():
    batch = batch_of("bloom")
    prompt = torch.zeros_like(batch.labels, dtype=torch.bool)
    for number, (source, _) in enumerate(PAIRS):
        prompt[number, : len(source)] = True
    assert (batch.labels[prompt] == IGNORED).all()
    heavier = replace(batch, weights=batch.weights.masked_fill(prompt, 100.0))
    model = tiny("bloom")
    assert loss_of(model, heavier).item() == loss_of(model, batch).item()


def test_twin_labels_on_the_target_side_change_the_loss(architecture):
    batch, model = batch_of(architecture), tiny(architecture)
    labels = batch.labels.clone()
    labels[0, (labels[0] != IGNORED).nonzero()[0]] = 20
    assert loss_of(model, replace(batch, labels=labels)).item() != loss_of(model, batch).item()


def test_our_loss_is_the_library_s_own_for_a_single_row(architecture):
    batch, model = batch_of(architecture, PAIRS[:1]), tiny(architecture)
    theirs = model(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels
    ).loss.item()
    assert loss_of(model, batch).item() == pytest.approx(theirs, abs=1e-5)


def test_padding_does_not_change_the_loss_of_a_document():
    model, short, long = tiny("bloom"), [5, 6, 7, 2], [8, 9, 10, 11, 12, 13, 2]
    alone = [loss_of(model, next_token_batch([row], pad=3)).item() * (len(row) - 1) for row in (short, long)]
    together = loss_of(model, next_token_batch([short, long], pad=3)).item() * (len(short) + len(long) - 2)
    assert together == pytest.approx(sum(alone), abs=1e-4)


@pytest.mark.parametrize("seed", range(50))
def test_what_is_left_and_what_is_hidden_give_the_row_again(seed):
    rng = random.Random(seed)
    row, sentinels = list(range(100, 100 + rng.randint(3, 40))), list(range(20))
    spans = draw_spans(len(row), 0.3, 3, rng)
    left, hidden = corrupt(row, spans, sentinels)
    pieces: dict[int, list[int]] = {}
    for token in hidden:
        if token < 100:
            current = pieces.setdefault(token, [])
        else:
            current.append(token)
    assert [part for token in left for part in ([token] if token >= 100 else pieces[token])] == row
    assert 0 < sum(map(len, pieces.values())) <= 0.3 * len(row) + 1


def test_overlapping_spans_are_refused():
    with pytest.raises(BadInput, match="ordered, apart"):
        corrupt([1, 2, 3, 4], [(0, 2), (1, 3)], [90, 91])


def test_an_empty_target_is_refused():
    with pytest.raises(BadInput, match="empty target"):
        pairs_batch([([1], [])], pad=0, encoder_decoder=True)


PLAN = Plan(steps=6, learning_rate=1e-2, warmup=2)


def interrupted_after(steps: int):
    def report(step, loss):
        if step == steps:
            raise KeyboardInterrupt

    return report


def stepwise(architecture: str):
    return lambda step: batch_of(architecture, [([5 + step, 6], [8 + step, 3]), ([9], [11, 12, 3])])


def test_a_resumed_training_gives_the_same_losses_and_weights(architecture, tmp_path):
    whole = tiny(architecture)
    losses = train(whole, stepwise(architecture), PLAN)
    with pytest.raises(KeyboardInterrupt):
        train(
            tiny(architecture),
            stepwise(architecture),
            PLAN,
            tmp_path,
            every_seconds=0,
            report=interrupted_after(4),
        )
    resumed = tiny(architecture, seed=1)
    assert train(resumed, stepwise(architecture), PLAN, tmp_path) == losses
    assert all(
        torch.equal(mine, theirs)
        for mine, theirs in zip(resumed.parameters(), whole.parameters(), strict=True)
    )


def test_twin_a_training_begun_anew_with_other_weights_differs(architecture):
    one, other = tiny(architecture), tiny(architecture, seed=1)
    assert train(one, stepwise(architecture), PLAN) != train(other, stepwise(architecture), PLAN)


def test_a_checkpoint_of_another_plan_is_refused(tmp_path):
    train(tiny("bloom"), stepwise("bloom"), PLAN, tmp_path)
    with pytest.raises(BadInput, match="another plan"):
        train(tiny("bloom"), stepwise("bloom"), replace(PLAN, steps=7), tmp_path)


def test_a_loss_that_is_no_number_stops_the_training():
    model = tiny("bloom")
    with torch.no_grad():
        model.transformer.word_embeddings.weight[8] = float("nan")
    with pytest.raises(BadInput, match="lower the learning rate"):
        train(model, stepwise("bloom"), PLAN)


@pytest.mark.parametrize("times", [1.0, 5.0])
def test_a_parameter_of_another_rate_moves_so_many_times_as_far(times):
    """Adam's first step is the rate itself wherever there is a gradient."""
    torch.manual_seed(0)
    model = new_model("mt5", VOCABULARY)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plan = Plan(1, 1e-3, warmup=1, decay=0.0, weight_decay=0.0, rates=(("relative_attention_bias", times),))
    train(model, lambda step: pairs_batch(PAIRS, 0, encoder_decoder=True), plan)
    moved = {name: (value - before[name]).abs().max().item() for name, value in model.state_dict().items()}
    assert moved["lm_head.weight"] == pytest.approx(1e-3, rel=0.02)
    for name in (name for name in moved if "relative_attention_bias" in name):
        assert moved[name] == pytest.approx(times * 1e-3, rel=0.02)


def test_the_learning_rate_warms_up_stays_and_falls_to_nothing():
    plan = Plan(steps=100, learning_rate=1.0, warmup=10, decay=0.3)
    rates = [plan.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:70] == [1.0] * 60
    assert rates[70:] == sorted(rates[70:], reverse=True)
    assert 0 < rates[-1] < 0.05


# --- micro-batches, processes, precision, noise ----------------------------------------------------------------------


def micro_batches(architecture: str, parts: int):
    """The same pairs as `stepwise` gives, a step cut in `parts`, and lengths that differ."""

    def make(step):
        rng = random.Random(step)
        pairs = [
            ([rng.randrange(4, 30) for _ in range(rng.randint(1, 9))], [*([7] * rng.randint(1, 5)), 3])
            for _ in range(8)
        ]
        groups = [pairs[start::parts] for start in range(parts)]
        made = [batch_of(architecture, group) for group in groups]
        return [replace(one, weights=one.weights * (len(g) / 8)) for one, g in zip(made, groups, strict=True)]

    return make


def weights_of(model) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("parts", [2, 4])
def test_micro_batches_give_the_losses_and_weights_of_the_whole_batch(architecture, parts):
    whole, cut = tiny(architecture), tiny(architecture)
    expected = train(whole, micro_batches(architecture, 1), PLAN)
    assert train(cut, micro_batches(architecture, parts), PLAN) == pytest.approx(expected, abs=1e-4)
    apart = (weights_of(cut) - weights_of(whole)).abs()
    # where a gradient is nearly none, Adam makes a small step of its rounding error
    assert (apart > 2e-4).float().mean() < 1e-5
    assert apart.max() < 1e-3


def test_twin_micro_batches_that_each_count_as_a_whole_differ(architecture):
    def heavier(step):
        return [replace(one, weights=one.weights * 4) for one in micro_batches(architecture, 4)(step)]

    assert train(tiny(architecture), heavier, PLAN)[0] == pytest.approx(
        4 * train(tiny(architecture), micro_batches(architecture, 1), PLAN)[0], rel=1e-4
    )


def with_dropout(architecture: str, seed: int = 0):
    model = tiny(architecture, seed)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.3
        if hasattr(module, "hidden_dropout"):
            module.hidden_dropout = 0.3
    return model


def test_a_resumed_training_drops_out_the_same(architecture, tmp_path):
    losses = train(with_dropout(architecture), stepwise(architecture), PLAN)
    assert losses != train(tiny(architecture), stepwise(architecture), PLAN)  # twin: there is dropout
    with pytest.raises(KeyboardInterrupt):
        train(
            with_dropout(architecture), stepwise(architecture), PLAN, tmp_path, every_seconds=0, report=interrupted_after(3)
        )  # fmt: skip
    torch.rand(10)
    assert train(with_dropout(architecture), stepwise(architecture), PLAN, tmp_path) == losses


def test_a_training_leaves_the_caller_s_random_numbers_alone(architecture):
    torch.manual_seed(5)
    expected = torch.rand(3)
    model = tiny(architecture)
    torch.manual_seed(5)
    train(model, stepwise(architecture), PLAN)
    assert torch.equal(torch.rand(3), expected)


def test_bfloat16_comes_near_and_is_not_the_same(architecture):
    exact = train(tiny(architecture), stepwise(architecture), PLAN)
    near = train(tiny(architecture), stepwise(architecture), PLAN, options=Options(bfloat16=True))
    assert near == pytest.approx(exact, abs=0.05)
    assert near != exact


TWO_PROCESSES = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parent))
from test_finetuning import PLAN, finetuned, micro_batches, tiny, weights_of
from workbench.training import loss_of, train
rank = int(os.environ["RANK"])
for architecture in ("bloom", "mt5"):
    finetuned(sys.argv[3], architecture, Path(sys.argv[2], f"tuned-{architecture}"))
    model = tiny(architecture)
    alone = [loss_of(model, part).item() for part in micro_batches(architecture, 5)(0)][rank::2]
    losses = train(model, micro_batches(architecture, 5), PLAN)
    found = {"losses": losses, "alone": sum(alone), "weights": weights_of(model).tolist()}
    Path(sys.argv[2], f"{architecture}{rank}.json").write_text(json.dumps(found))
"""


def finetuned(root, side: str, out: Path) -> list[float]:
    """The losses of a short finetuning of a small checkpoint."""
    if not (out.parent / "data").exists():
        made = [Pair(f"The cat {number} sat" + " on the mat" * (number % 5), "Paka") for number in range(20)]
        mixtures.write(out.parent / "data", "en", "a.jsonl", made)
    handle = load(str(Path(root) / side), device="cpu")
    settings = settings_for(handle.identity, steps=4, batch=9, accumulate=2)
    training.finetune(handle, mixtures.read(str(out.parent / "data")), out, settings, show=False)
    return json.loads((out / "training.json").read_text())["losses"]


def calm(folder: Path, checkpoints) -> Path:
    """Copies of the small checkpoints without dropout, which every process would draw for itself."""
    for side, path in checkpoints.items():
        shutil.copytree(path, folder / "bases" / side, dirs_exist_ok=True)
        config = folder / "bases" / side / "config.json"
        config.write_text(config.read_text().replace('"dropout_rate": 0.1', '"dropout_rate": 0.0'))
    return folder / "bases"


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory, checkpoints):
    """What two processes on the CPU found, by architecture and rank (five micro-batches: three and two)."""
    folder = tmp_path_factory.mktemp("two")
    losses = {
        side: finetuned(calm(folder, checkpoints), side, folder / f"one-{side}") for side in checkpoints
    }
    (folder / "script.py").write_text(TWO_PROCESSES)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, folder / "script.py", __file__, folder, folder / "bases"],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    for side in checkpoints:
        record = json.loads((folder / f"tuned-{side}" / "training.json").read_text())
        found[side] = {"one": losses[side], "two": record["losses"], "processes": record["processes"]}
    return found


def test_two_processes_give_the_losses_and_weights_of_one(architecture, two_processes):
    one = tiny(architecture)
    losses = train(one, micro_batches(architecture, 1), PLAN)
    for rank in (0, 1):
        found = two_processes[f"{architecture}{rank}"]
        assert found["losses"] == pytest.approx(losses, abs=1e-4)
        assert torch.allclose(torch.tensor(found["weights"]), weights_of(one), atol=2e-4)


def test_two_processes_finetune_a_checkpoint_as_one_does(architecture, two_processes):
    found = two_processes[architecture]
    assert found["processes"] == 2
    assert found["two"] == pytest.approx(
        found["one"], abs=1e-4 if architecture == "bloom" else 1.0
    )  # mT5 drops out


def test_twin_a_process_alone_would_report_another_loss(architecture, two_processes):
    first, second = (two_processes[f"{architecture}{rank}"] for rank in (0, 1))
    assert first["alone"] + second["alone"] == pytest.approx(first["losses"][0], abs=1e-4)
    assert min(abs(each["alone"] - first["losses"][0]) for each in (first, second)) > 0.5


# --- what goes wrong -------------------------------------------------------------------------------------------------

TOO_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parent))
from test_finetuning import PLAN, batch_of, tiny
from workbench.errors import BadInput
from workbench.training import train
for architecture in ("bloom", "mt5"):
    model = tiny(architecture)
    train(model, lambda step: batch_of(architecture, [([5, 6], [8, 3])]), PLAN)  # libraries load what they need
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 10**8, -1))
    try:
        train(model, lambda step: batch_of(architecture, [([5] * 1500, [8, 3])] * 64), PLAN, Path(sys.argv[2]))
    except BadInput as error:
        print(architecture, error)
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to limit the memory")
def test_too_little_memory_is_said_with_its_remedy(tmp_path):
    command = [sys.executable, "-c", TOO_LITTLE_MEMORY, __file__, str(tmp_path / "work")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (
        "bloom out of memory at step 0 with 64 rows of 1502 tokens at once; raise --accumulate" in done.stdout
    )
    assert (
        "mt5 out of memory at step 0 with 64 rows of 1500 tokens at once; raise --accumulate" in done.stdout
    )
    assert not (tmp_path / "work").exists()


@contextlib.contextmanager
def no_file_over(size: int):
    """A disk that takes no more than so many bytes of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_said_and_the_checkpoint_before_stays_whole(architecture, tmp_path):
    losses = train(tiny(architecture), stepwise(architecture), PLAN, tmp_path)
    (tmp_path / "training.pt").rename(tmp_path / "kept.pt")
    with no_file_over(10**5), pytest.raises(StoreFailed, match="free some space"):
        train(tiny(architecture), stepwise(architecture), PLAN, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.pt"]
    assert (
        train(tiny(architecture), stepwise(architecture), PLAN, tmp_path) == losses
    )  # twin: with room, it is written


def test_a_checkpoint_that_belongs_to_something_else_is_refused(tmp_path):
    train(tiny("bloom"), stepwise("bloom"), PLAN, tmp_path, options=Options(belongs_to="one"))
    with pytest.raises(BadInput, match="belongs to another training"):
        train(tiny("bloom"), stepwise("bloom"), PLAN, tmp_path, options=Options(belongs_to="two"))
