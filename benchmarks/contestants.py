"""Who is measured: each in a process of its own, answering one order per line with seconds, peak memory and answers.

Run as `python -m benchmarks.contestants NAME SIDE DTYPE FOLDER DEVICE`. The clock runs from text to scores or text, loading apart.
"""

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.peers import Abilities, Answer
from benchmarks.questions import LONGEST_ANSWER, prompts, questions


def workbench(side: str, dtype: str, folder: Path, device: str) -> Abilities:
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
        asked = prompts(count, side)
        answers = generate(fresh(), asked, max_new_tokens=LONGEST_ANSWER[side], progress=False)
        return [answer.text.strip() for answer in answers]

    model = load(str(folder), dtype=dtype, device=device, store=Store(store))  # type: ignore[arg-type]
    peers.prepare(model.hf.model)
    return {"rank": ranked, "write": written}


CONTESTANTS = {
    "workbench": workbench,
    "lm-eval": peers.lm_eval,
    "transformers": peers.transformers,
    "CTranslate2": peers.ctranslate2,
    "CTranslate2 int8": lambda side, _, *place: peers.ctranslate2(side, "int8", *place),
}


def peak(device: str = "cpu", *, reset: bool = False) -> int:
    """The most memory this process held on a device, in bytes, since the start or (on Linux and on GPUs) since the last reset."""
    if device == "cuda":
        import torch

        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main(name: str, side: str, dtype: str, folder: str, device: str) -> None:
    """Answer orders from standard input, one JSON object per line, until it ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not for the reader of the replies
    can = CONTESTANTS[name](side, dtype, Path(folder), device)
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        peak(device, reset=True)
        work, clock = can[order.pop("do")], time.perf_counter()
        answers = work(**order)
        reply = {"seconds": time.perf_counter() - clock, "peak": peak(device), "answers": answers}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
