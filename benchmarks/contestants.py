"""Who is measured: each in a process of its own, answering one order per line with seconds, peak memory and answers.

Run as `python -m benchmarks.contestants NAME SIDE DTYPE FOLDER`. The clock runs from text to scores or text, loading apart.
"""

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from benchmarks.checkpoints import walking_head
from benchmarks.questions import prompts, questions

BATCH = 16  # rows, of the others; ours keep their defaults
LONGEST_ANSWER = 32
Answer = list[Any]


def workbench(side: str, dtype: str, folder: Path) -> dict[str, Callable[..., Answer]]:
    """Ours, with a new store for every order."""
    from workbench import Item, generate, load, rank
    from workbench.store import Store

    store = Path(tempfile.mkdtemp()) / "store.sqlite"

    def fresh() -> Any:
        store.unlink(missing_ok=True)
        model.store = Store(store)
        return model

    def ranked(shape: str, count: int) -> Answer:
        items = [Item(str(n), q.prompt, q.choices) for n, q in enumerate(questions(shape, count))]
        return rank(fresh(), items, protocol="lm-eval", progress=False)["scores"].tolist()

    def written(count: int) -> Answer:
        answers = generate(
            fresh(),
            prompts(count, LONGEST_ANSWER),
            max_new_tokens=LONGEST_ANSWER,
            progress=False,
        )
        return [answer.text for answer in answers]

    model = load(str(folder), dtype=dtype, device="cpu", store=Store(store))  # type: ignore[arg-type]
    prepare(model.hf.model)
    return {"rank": ranked, "write": written}


def lm_eval(side: str, dtype: str, folder: Path) -> dict[str, Callable[..., Answer]]:
    """lm-evaluation-harness, its transformers model.

    It calls `tie_weights` after loading, which gives an mT5 its embeddings as a head and so other scores (seen with 0.4.13
    and transformers 5.23); the published head is put back, so that both sides score the same model.
    """
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(
        str(folder), backend="seq2seq" if side == "mt5" else "causal", dtype=dtype, device="cpu", batch_size=BATCH,
        max_length=2048,
    )  # fmt: skip
    if side == "mt5":
        with safe_open(folder / "model.safetensors", framework="pt") as file:
            model.model.lm_head.weight = torch.nn.Parameter(file.get_tensor("lm_head.weight"))

    def ranked(shape: str, count: int) -> Answer:
        asked = questions(shape, count)
        pairs = [(question.prompt, f" {choice}") for question in asked for choice in question.choices]
        requests = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]
        found = iter(model.loglikelihood(requests, disable_tqdm=True))
        return [[next(found)[0] for _ in question.choices] for question in asked]

    return {"rank": ranked}


def pipeline(side: str, dtype: str, folder: Path) -> dict[str, Callable[..., Answer]]:
    """transformers' pipeline for text generation."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    prepare(model)
    write = transformers.pipeline("text-generation", model=model, tokenizer=tokenizer, batch_size=BATCH)
    options = {"max_new_tokens": LONGEST_ANSWER, "do_sample": False, "return_full_text": False}

    def written(count: int) -> Answer:
        return [
            answer[0]["generated_text"].strip() for answer in write(prompts(count, LONGEST_ANSWER), **options)
        ]

    return {"write": written}


def prepare(model: Any) -> None:
    """Give a decoder the head that makes its texts end; the scores of `rank` are compared without it."""
    if os.environ.get("BENCHMARK_WALKS"):
        model.lm_head.weight = torch.nn.Parameter(walking_head(model.get_input_embeddings().weight.data))


def peak(*, reset: bool = False) -> int:
    """The most memory this process held, in bytes, since the start or (on Linux) since the last reset."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main(name: str, side: str, dtype: str, folder: str) -> None:
    """Answer orders from standard input, one JSON object per line, until it ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not for the reader of the replies
    can = {"workbench": workbench, "lm-eval": lm_eval, "pipeline": pipeline}[name](side, dtype, Path(folder))
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        peak(reset=True)
        work, clock, used = can[order.pop("do")], time.perf_counter(), time.process_time()
        answers = work(**order)
        reply = {
            "seconds": time.perf_counter() - clock,
            "cpu_seconds": time.process_time() - used,
            "peak": peak(),
            "answers": answers,
        }
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
