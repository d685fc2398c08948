"""What somebody would pick instead: lm-evaluation-harness, transformers' own generation, and CTranslate2 in float32 and int8.

Each is a function of (side, dtype, folder, device) that returns what it can do: "rank" and "write", which answer like those of
`benchmarks.contestants.workbench`.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from benchmarks.checkpoints import walking_head
from benchmarks.questions import LONGEST_ANSWER, prompts, questions

BATCH = 16  # rows; CTranslate2 gets tokens, as many as our own batches have
GPU_BATCH = 64
BATCH_TOKENS = 1024
Answer = list[Any]
Abilities = dict[str, Callable[..., Answer]]


def lm_eval(side: str, dtype: str, folder: Path, device: str) -> Abilities:
    """lm-evaluation-harness, its transformers model.

    It calls `tie_weights` after loading, which gives an mT5 its embeddings as a head and so other scores (seen with 0.4.13
    and transformers 5.23); the published head is put back, so that both sides score the same model.
    """
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(
        str(folder), backend="seq2seq" if side == "mt5" else "causal", dtype=dtype, device=device, max_length=2048,
        batch_size=BATCH if device == "cpu" else GPU_BATCH,
    )  # fmt: skip
    if side == "mt5":
        with safe_open(folder / "model.safetensors", framework="pt") as file:
            model.model.lm_head.weight = torch.nn.Parameter(
                file.get_tensor("lm_head.weight").to(device, model.model.dtype)
            )

    def ranked(shape: str, count: int) -> Answer:
        asked = questions(shape, count)
        pairs = [(question.prompt, f" {choice}") for question in asked for choice in question.choices]
        requests = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]
        found = iter(model.loglikelihood(requests, disable_tqdm=True))
        return [[next(found)[0] for _ in question.choices] for question in asked]

    return {"rank": ranked}


def transformers(side: str, dtype: str, folder: Path, device: str) -> Abilities:
    """transformers' pipeline for text generation; of an encoder–decoder, which has none any more, `generate` in batches."""
    import transformers

    encodes = side == "mt5"
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        folder, padding_side="right" if encodes else "left"
    )
    kind = transformers.AutoModelForSeq2SeqLM if encodes else transformers.AutoModelForCausalLM
    model = kind.from_pretrained(folder, dtype=getattr(torch, dtype)).to(device)
    rows = BATCH if device == "cpu" else GPU_BATCH
    prepare(model)
    options = {"max_new_tokens": LONGEST_ANSWER[side], "do_sample": False}
    if not encodes:
        write = transformers.pipeline("text-generation", model=model, tokenizer=tokenizer, batch_size=rows)

    def piped(count: int) -> Answer:
        found = write(prompts(count, side), return_full_text=False, **options)
        return [answer[0]["generated_text"].strip() for answer in found]

    def generated(count: int) -> Answer:
        asked, found = prompts(count, side), []
        for start in range(0, count, rows):
            read = tokenizer(asked[start : start + rows], return_tensors="pt", padding=True).to(device)
            ids = model.generate(
                input_ids=read["input_ids"], attention_mask=read["attention_mask"], **options
            )
            found += tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [text.strip() for text in found]

    return {"write": generated if encodes else piped}


def ctranslate2(side: str, dtype: str, folder: Path, device: str) -> Abilities:
    """CTranslate2, weights converted once; `dtype` is "float32" or "int8"."""
    import ctranslate2

    make = ctranslate2.Translator if side == "mt5" else ctranslate2.Generator
    threads = {"inter_threads": 1, "intra_threads": torch.get_num_threads()}
    model = make(str(_converted(side, folder)), device=device, compute_type=dtype, **threads)
    size = {"max_batch_size": BATCH_TOKENS, "batch_type": "tokens"}

    def ranked(shape: str, count: int) -> Answer:
        asked = questions(shape, count)
        pairs = [
            (question.prompt.split(), choice.split()) for question in asked for choice in question.choices
        ]
        if side == "mt5":
            sources, targets = ([*prompt, "</s>"] for prompt, _ in pairs), (choice for _, choice in pairs)
            scored = model.score_batch(list(sources), list(targets), **size)
        else:
            scored = model.score_batch([prompt + choice for prompt, choice in pairs], **size)
        found = iter(
            sum(each.log_probs[: len(choice)] if side == "mt5" else each.log_probs[-len(choice) :])
            for each, (_, choice) in zip(scored, pairs, strict=True)
        )
        return [[next(found) for _ in question.choices] for question in asked]

    def written(count: int) -> Answer:
        asked = [prompt.split() for prompt in prompts(count, side)]
        if side == "mt5":
            found = model.translate_batch(
                [[*prompt, "</s>"] for prompt in asked], beam_size=1, max_decoding_length=LONGEST_ANSWER[side], **size
            )  # fmt: skip
            return [" ".join(each.hypotheses[0]) for each in found]
        found = model.generate_batch(
            asked, max_length=LONGEST_ANSWER[side], sampling_topk=1, include_prompt_in_result=False, **size
        )
        return [" ".join(each.sequences[0]) for each in found]

    return {"rank": ranked, "write": written}


def _converted(side: str, folder: Path) -> Path:
    """The folder of a checkpoint in CTranslate2's format.

    Its converter believes the setting `tie_word_embeddings`, which mT5's configuration has wrong, and leaves out the first token
    of a tokenizer without one.
    """
    from ctranslate2.converters import TransformersConverter

    class Converter(TransformersConverter):
        def load_model(self, model_class: Any, *arguments: Any, **options: Any) -> Any:
            model = super().load_model(model_class, *arguments, **options)
            model.config.tie_word_embeddings = False
            prepare(model)
            return model

    walks = "-walks" if os.environ.get("BENCHMARK_WALKS") else ""
    path = folder.with_name(f"ctranslate2-{side}{walks}")
    if not (path / "whole").exists():
        Converter(str(folder)).convert(str(path), force=True)
        settings = path / "config.json"
        facts = json.loads(settings.read_text())
        missing = {name: "<unk>" for name, value in facts.items() if name.endswith("token") and value is None}
        settings.write_text(json.dumps({**facts, **missing}))
        (path / "whole").touch()
    return path


def prepare(model: Any) -> None:
    """Give a decoder the head that makes its texts end; the scores of `rank` are compared without it."""
    if os.environ.get("BENCHMARK_WALKS") and model.config.model_type == "bloom":
        model.lm_head.weight = torch.nn.Parameter(walking_head(model.get_input_embeddings().weight.data))
