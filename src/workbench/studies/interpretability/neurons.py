"""Language neurons: MLP neurons that are active in texts of one language and hardly in those of others.

Their measure is the language activation probability entropy (LAPE). A neuron counts as active at a token where its GELU's input is
above 0. Tang et al. take the sign of the activation, which in BLOOM is the same, since GELU keeps the sign; what GELU lets through
below 0 is at most .17. In mT5's gated GELU the sign of the product would also be that of the linear half, which is no gate.

LAPE always finds a lowest percent, also in random weights, whose neurons differ between languages as the tokens do. Whether these
neurons serve a language is what `neuron_ablation` asks.

Source: Tang et al. 2024 (arXiv:2402.16438), who publish the neurons of BLOOM-7B; critical: arXiv:2503.17456, arXiv:2601.04664.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pandas as pd
from scipy import stats as distributions

from workbench.errors import BadInput
from workbench.inference.activity import neuron_activity
from workbench.models import Model
from workbench.models.requests import Stack
from workbench.studies.interpretability.concepts import Concepts
from workbench.studies.interpretability.translations import READINGS, Reading, split

Neurons = Mapping[str, Sequence[tuple[int, int]]]  # by language: block from 1 to L, and number in the block
_NEAREST = 5  # neurons closest in activity, of which a control is drawn


@dataclass(frozen=True)
class LanguageNeurons:
    """The neurons of each language, and the activity of all neurons over the texts they were chosen on.

    Attributes:
        by_language: The neurons of each language; a neuron may belong to several.
        languages: K codes.
        active, mean, strength: As in `Activity`, by language, (K, L, n).
        stack: Where they are.
        reading: What they were chosen on, as for `language_neurons`.
        meanings: The (sentence, concept) that they were chosen on.
    """

    by_language: Neurons
    languages: tuple[str, ...]
    active: np.ndarray
    mean: np.ndarray
    strength: np.ndarray
    stack: Stack
    reading: Reading
    meanings: frozenset[tuple[str, str]]

    @property
    def entropy(self) -> np.ndarray:
        """The entropy of every neuron, (L, n), in nats: see `activation_entropy`."""
        return activation_entropy(self.active)

    @property
    def table(self) -> pd.DataFrame:
        """One row per language and neuron: language, layer, neuron, entropy, active, elsewhere (the mean share in other languages)."""
        entropy = self.entropy
        columns = ["language", "layer", "neuron", "entropy", "active", "elsewhere"]
        rows = []
        for number, code in enumerate(self.languages):
            for layer, neuron in self.by_language[code]:
                shares = self.active[:, layer - 1, neuron]
                elsewhere = (shares.sum() - shares[number]) / (len(shares) - 1)
                rows.append((code, layer, neuron, entropy[layer - 1, neuron], shares[number], elsewhere))
        return pd.DataFrame(rows, columns=columns)

    def given(self, neurons: Neurons) -> "LanguageNeurons":
        """Return the same with neurons chosen elsewhere, for example published ones; languages without any have none.

        Raises:
            BadInput: another language, or a neuron that the stack does not have.
        """
        _, blocks, width = self.active.shape
        for language, chosen in neurons.items():
            odd = [one for one in chosen if not (1 <= one[0] <= blocks and 0 <= one[1] < width)]
            if language not in self.languages or odd:
                raise BadInput(
                    f"neurons of {language!r}{f': {odd[0]}' if odd else ''}; give (block 1 to {blocks}, neuron 0 to {width - 1}) for "
                    f"{', '.join(self.languages)}"
                )
        by_language = {code: tuple(dict.fromkeys(neurons.get(code, ()))) for code in self.languages}
        return replace(self, by_language=by_language)

    def controls(self, *, seed: int = 0) -> "LanguageNeurons":
        """Return the same with random neurons: as many of each block, active as often and as strongly in texts of the language.

        For each neuron one is drawn among the five nearest to it in the ranks of both, out of those that belong to no language.

        Raises:
            BadInput: a block with too few others.
        """
        chosen = {one for each in self.by_language.values() for one in each}
        draw = np.random.default_rng(seed)
        return replace(
            self,
            by_language={code: self._alike(code, chosen, draw) for code in self.by_language},
        )

    def _alike(
        self, language: str, chosen: set[tuple[int, int]], draw: np.random.Generator
    ) -> tuple[tuple[int, int], ...]:
        number = self.languages.index(language)
        taken, found = set(chosen), []
        ranks = {
            layer: np.stack(
                [distributions.rankdata(each[number, layer - 1]) for each in (self.active, self.strength)]
            )
            for layer in {layer for layer, _ in self.by_language[language]}
        }
        for layer, neuron in self.by_language[language]:
            apart = np.abs(ranks[layer] - ranks[layer][:, [neuron]]).max(axis=0)
            places = ((layer, int(one)) for one in np.argsort(apart, kind="stable"))
            near = list(islice((one for one in places if one not in taken), _NEAREST))
            if not near:
                raise BadInput(f"block {layer} has no neurons left as controls; choose a smaller share")
            found.append(near[draw.integers(len(near))])
            taken.add(found[-1])
        return tuple(found)


def language_neurons(
    model: Model,
    concepts: Concepts,
    *,
    reading: Reading = "texts",
    share: float = 0.01,
    active: float = 0.95,
    seed: int = 0,
) -> LanguageNeurons:
    """Choose the neurons with the lowest entropy, on the half of the meanings to fit on, the same in all languages.

    Args:
        reading: `texts`: each text is read alone, by BLOOM's decoder or mT5's encoder. `answers`: the decoder reads it as the answer to
            a request for a translation from the other languages in turn, and of BLOOM the answer's tokens count.
        share: Of all neurons, how many are chosen.
        active: Only neurons are chosen that in some language are active at a larger share of tokens than this quantile of the
            shares of all neurons and languages; and they belong to all the languages in which they are.
        seed: Of the halves.

    Raises:
        BadInput: an unknown reading, or a share or quantile that is not between 0 and 1; otherwise as `neuron_activity`.
    """
    if reading not in READINGS or not (0 < share < 1 and 0 <= active < 1):
        raise BadInput(
            f"reading={reading!r}, share={share}, active={active}; reading is one of {', '.join(READINGS)}, the others are between 0 and 1"
        )
    fitted, _ = split(concepts, seed)
    codes = concepts.languages
    texts = [[concepts.text(*one, code) for one in fitted] for code in codes]
    prompts = None
    if reading == "answers":
        space = "" if model.is_encoder_decoder else " "
        texts = [[space + text for text in each] for each in texts]
        prompts = [
            [concepts.prompt(*one, *way).text for one, way in into(codes, fitted, code)] for code in codes
        ]
    found = neuron_activity(model, texts, prompts=prompts, progress=False)
    shares = np.stack([each.active for each in found])
    return LanguageNeurons(
        _chosen(shares, codes, share, active),
        codes,
        shares,
        np.stack([each.mean for each in found]),
        np.stack([each.strength for each in found]),
        "encoder" if model.is_encoder_decoder and reading == "texts" else "decoder",
        reading,
        frozenset(fitted),
    )


def into(
    codes: Sequence[str], meanings: Sequence[tuple[str, str]], target: str
) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """Return each meaning with the languages (source, target) of a request, each other language as source in turn."""
    others = [code for code in codes if code != target]
    return [(one, (others[number % len(others)], target)) for number, one in enumerate(meanings)]


def activation_entropy(active: np.ndarray) -> np.ndarray:
    """Return the entropy of each neuron's shares over languages, in nats: 0 if it is active in one only, ln K if alike in all.

    Args:
        active: Shares of tokens, shape (K, …); a neuron that is never active gets ln K.

    Source: Tang et al. 2024 (arXiv:2402.16438), equations 3 and 4.
    """
    never = active.sum(axis=0) == 0
    return np.asarray(distributions.entropy(np.where(never, 1.0, active), axis=0))


def _chosen(shares: np.ndarray, codes: Sequence[str], share: float, active: float) -> Neurons:
    """Return the active neurons of lowest entropy by language; of equal ones first those that are active most."""
    is_active = (shares > 0) & (shares >= np.quantile(shares, active))
    entropy = np.where(is_active.any(axis=0), activation_entropy(shares), np.inf).ravel()
    order = np.lexsort((-shares.max(axis=0).ravel(), entropy))[: round(share * entropy.size)]
    places = [divmod(int(one), shares.shape[2]) for one in sorted(order) if np.isfinite(entropy[one])]
    return {
        code: tuple((block + 1, neuron) for block, neuron in places if is_active[number, block, neuron])
        for number, code in enumerate(codes)
    }
