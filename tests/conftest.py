"""Small random checkpoints of the real classes, made once per session: no download, no training."""

import hashlib
import importlib
import os
import shutil
import sys
from functools import partial
from multiprocessing import get_context

import pytest

from workbench.models import load
from workbench.runs import fork_server, supervise
from workbench.service import private_service
from workbench.store import Store

# jsonschema takes 2 s to build a grammar of addresses where there is one, and no test validates an address
sys.modules["rfc3987_syntax"] = None
importlib.import_module("nbformat")
del sys.modules["rfc3987_syntax"]

TEXTS = [
    "The cat sat on the mat. Translate to English: Je t'aime.", "Le chat est assis sur le tapis, n'est-ce pas ?",
    "猫坐在垫子上。你好吗？", "Paka ameketi juu ya mkeka.", "El gato duerme. ¿Dónde está?", "Premise and hypothesis: yes, no, maybe.",
]  # fmt: skip


FIRST = (
    "service_kills", "notebook_sources", "runs_sweeps", "runs", "cli", "runs_verify", "service", "runs_clusters", "finetuning", "fetch",
    "answer_packs", "finetune", "servers", "evaluation_notebook", "mini_known", "runs_run_id", "contributing", "check", "mini_training",
)  # fmt: skip

os.environ["WORKBENCH_SERVICE"] = "off"  # a service of the developer's answers no test


def pytest_collection_modifyitems(items):
    """Start the files that take longest first (Makefile: two at a time, in this order), so that no process ends alone."""
    place = {f"test_{name}.py": number for number, name in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(item.path.name, len(FIRST)))


def _tokenizer(side):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<unk>", "<s>", "</s>", "<pad>"] if side == "bloom" else ["<pad>", "</s>", "<unk>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    if side == "mt5":
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A </s>", special_tokens=[("</s>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=128,
        bos_token="<s>" if side == "bloom" else None,
    )  # fmt: skip


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Folders of a random BLOOM and a random mT5 (own head), two layers each, with loud weights so that answers differ."""
    import torch
    from transformers import BloomConfig, BloomForCausalLM, MT5Config, MT5ForConditionalGeneration

    root = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    bloom = BloomForCausalLM(
        BloomConfig(vocab_size=400, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.3)
    )
    mt5 = MT5ForConditionalGeneration(
        MT5Config(
            vocab_size=400, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, initializer_factor=1.0
        )
    )
    mt5.lm_head.weight = torch.nn.Parameter(torch.randn(400, 32) * 0.3)
    for model, side in ((bloom, "bloom"), (mt5, "mt5")):
        model.save_pretrained(root / side)
        _tokenizer(side).save_pretrained(root / side)
    return {"bloom": root / "bloom", "mt5": root / "mt5"}


@pytest.fixture(scope="module")
def the_package_stands_still():
    """A file of the package edited while the tests run would make each run a new one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workbench.runs.run_id.tree_digest", lambda *_, **__: "0")
        yield


@pytest.fixture
def process_of():
    """A function that calls another in a process of its own, and returns that process and a pipe of what the call sends.

    On Linux it is a fork of this process, and torch is not imported again. (A fork cannot train: autograd has threads.)
    """
    processes = get_context("fork" if sys.platform == "linux" else "spawn")
    started = []

    def start(call, *given):
        received, sent = processes.Pipe(duplex=False)
        started.append(processes.Process(target=call, args=(sent, *given), daemon=True))
        started[-1].start()
        sent.close()
        return started[-1], received

    yield start
    for process in started:
        process.kill()
        process.join()


@pytest.fixture(scope="session")
def service():
    """The address of a model service that tests share: it imports torch once for the models of all."""
    with private_service(threads=1) as address:
        yield address


@pytest.fixture(scope="session")
def server_of_forks():
    """The server that the runs of sweeps are forked from. What reads the hub's settings is imported offline."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        fork_server.prepare()


@pytest.fixture(scope="module")
def forked_runs(server_of_forks):
    """Runs start as those of a sweep do, which saves each the imports of two interpreters; test_runs.py starts some afresh.

    A fork does not read HF_HUB_CACHE anew: a test that sets it starts its runs afresh.
    """
    if not fork_server.CAN_FORK:
        return
    forked = partial(supervise.Supervision, start=_start)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervise, "Supervision", forked)
        yield


def _start(start):
    forks = "HF_HUB_CACHE" not in os.environ
    return (fork_server.start_forked if forks else supervise.start_afresh)(start)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store.sqlite")


@pytest.fixture(params=["bloom", "mt5"])
def model(request, checkpoints, store):
    """A handle on each architecture in turn."""
    return load(str(checkpoints[request.param]), device="cpu", store=store)


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty cache of the hub's client, which is told to ask no network."""
    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return cache


@pytest.fixture
def fill_hub_cache(hub_cache):
    """Lays a checkpoint out as the hub's client does: blobs, snapshots with links, refs."""

    def fill(folder, hub_id, commit="c" * 40, ref="main"):
        root = hub_cache / f"models--{hub_id.replace('/', '--')}"
        snapshot = root / "snapshots" / commit
        for made in (root / "blobs", root / "refs", snapshot):
            made.mkdir(parents=True, exist_ok=True)
        if ref:
            (root / "refs" / ref).write_text(commit)
        for file in folder.iterdir():
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            is_large = file.suffix in (".safetensors", ".bin", ".model")
            name = digest if is_large else digest[:40]
            shutil.copy(file, root / "blobs" / name)
            (snapshot / file.name).symlink_to(f"../../blobs/{name}")
        return root

    return fill
