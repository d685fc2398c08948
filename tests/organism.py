"""A BLOOM and an mT5 made by hand that translate a word over a pivot language: what each block writes, and in which direction, is known.

Blocks do nothing but these two: `CONCEPT` reads which concept the prompt names and writes it, together with the pivot language, and
`LANGUAGE` reads the name of the language that is asked for and puts it in the pivot's place. BLOOM does it by self-attention, mT5's
decoder by cross-attention; both attend evenly.
"""

from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    MT5Config,
    MT5ForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from workbench.prompts import Template
from workbench.studies.interpretability.concepts import Concepts

LANGUAGES = ("aa", "bb", "cc", "dd", "ee")
PIVOT = "ee"
COUNT, WIDTH, DEPTH = 12, 64, 4
CONCEPT, LANGUAGE = 2, 3  # blocks, the first of which is 1
SPECIAL = ["<pad>", "</s>", "<unk>", ":", *(f"N{code}" for code in LANGUAGES)]
WORDS = [f"{code}{number}" for code in LANGUAGES for number in range(COUNT)]


@dataclass(frozen=True)
class Directions:
    """Orthonormal rows without a mean: those that blocks read of concepts and languages' names, those they write, and others."""

    concept_read: np.ndarray
    name_read: np.ndarray
    concept: np.ndarray
    language: np.ndarray
    rest: np.ndarray


def directions():
    draw = np.random.default_rng(0).standard_normal((WIDTH, WIDTH))
    draw[:, 0] = 1.0
    basis = np.linalg.qr(draw)[0].T[1:].astype(np.float32)
    return Directions(*np.split(basis, np.cumsum([COUNT, len(LANGUAGES), COUNT, len(LANGUAGES)])))


def concepts(words=None):
    """Words of one token each; the request is the word, and the name of the language asked for."""
    words = words or {
        f"c{number}": {code: f"{code}{number}" for code in LANGUAGES} for number in range(COUNT)
    }
    template = Template("planted", "{{text}} {{target_language}} : ||| {{target}}")
    names = {code: f"N{code}" for code in LANGUAGES}
    return Concepts(words, {"word": dict.fromkeys(LANGUAGES, "{}")}, names, template, "planted")


def shuffled(seed):
    """The same words without meaning: in each language another order, and for each concept the languages exchanged."""
    draw = np.random.default_rng(seed)
    columns = [draw.permutation([f"{code}{number}" for number in range(COUNT)]) for code in LANGUAGES]
    rows = [draw.permutation(row) for row in np.array(columns).T]
    return concepts({f"c{n}": dict(zip(LANGUAGES, map(str, row), strict=True)) for n, row in enumerate(rows)})


def build(side, folder, *, is_turned=False):
    """Save the model and its tokenizer in a folder, and return it; random weights in its place (`random_seed`) are loud.

    Args:
        is_turned: Block `CONCEPT` writes the concept turned into the next one's direction, and block `LANGUAGE` turns it back.
    """
    way, config = directions(), {"vocab_size": len(SPECIAL) + len(WORDS)}
    spoken = np.tile(way.concept, (len(LANGUAGES), 1)) + np.repeat(way.language, COUNT, axis=0)
    others = np.concatenate([way.rest[:4], way.name_read])
    table = np.concatenate([others, np.tile(way.concept_read, (len(LANGUAGES), 1)) + spoken])
    if side == "bloom":
        model = BloomForCausalLM(
            BloomConfig(**config, hidden_size=WIDTH, n_layer=DEPTH, n_head=1, initializer_range=0.3)
        )
    else:
        model = MT5ForConditionalGeneration(
            MT5Config(**config, d_model=WIDTH, d_kv=WIDTH, d_ff=WIDTH, num_layers=DEPTH, num_heads=1)
        )
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.fill_(float(name.endswith("weight") and ("norm" in name or "ln_f" in name)))
        model.get_input_embeddings().weight.copy_(torch.from_numpy(table * (1 if side == "bloom" else 8)))
        if side == "mt5":
            model.lm_head.weight.copy_(torch.from_numpy(np.concatenate([others, spoken])))
        pivot = way.language[LANGUAGES.index(PIVOT)]
        written = np.roll(way.concept, -1, axis=0) if is_turned else way.concept
        back = (way.concept - written).T @ way.concept_read
        if (
            side == "bloom"
        ):  # its word has grown by what the earlier block wrote, of which the norm makes this much less
            back *= 5
        _attend(model, CONCEPT, (written + pivot).T @ way.concept_read)
        _attend(model, LANGUAGE, (way.language - pivot).T @ way.name_read + back)
    model.save_pretrained(folder)
    _tokenizer(side).save_pretrained(folder)
    return str(folder)


def _attend(model, block, matrix):
    """Make a block write `matrix` (D, D) of the mean state that it attends to."""
    if model.config.model_type == "bloom":
        attention = model.transformer.h[block - 1].self_attention
        attention.query_key_value.weight[2 * WIDTH :] = torch.eye(WIDTH)
        attention.dense.weight.copy_(torch.from_numpy(6 * matrix))
    else:
        attention = model.decoder.block[block - 1].layer[1].EncDecAttention
        attention.v.weight.copy_(torch.eye(WIDTH))
        attention.o.weight.copy_(torch.from_numpy(6 * matrix))


def _tokenizer(side):
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if side == "mt5":
        made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=64
    )
