"""Named protocols for scoring choices, and the mapping from a short name to the variant for a model.

`xmtf` is the protocol of the published results; it differs between BLOOM and mT5 (arXiv 2211.01786; t-zero fork,
commit 3f1086c).
"""

from dataclasses import dataclass, replace
from typing import Literal

from workbench.errors import UnknownName
from workbench.models import Model
from workbench.models.requests import ScoringRule


@dataclass(frozen=True)
class Protocol:
    """A named way to score choices: a tokenization rule and a normalisation of the log-probabilities.

    `sum` adds them; `mean` divides the sum by the number of tokens; `pmi` subtracts the score of the choice without the prompt.
    """

    name: str
    rule: ScoringRule
    normalisation: Literal["sum", "mean", "pmi"] = "sum"


_BLOOM = ScoringRule(leading_space=True, score_end=False, special_tokens=False, max_prompt_tokens=2048)
_MT5 = ScoringRule(leading_space=False, score_end=True, special_tokens=False, max_prompt_tokens=512)
_WHOLE_BLOOM = replace(_BLOOM, max_prompt_tokens=None, special_tokens=True)  # BLOOM's tokenizer has none
_WHOLE_MT5 = replace(_MT5, max_prompt_tokens=None)
_LM_EVAL = ScoringRule(leading_space=True, joined=True)
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("xmtf-bloom", _BLOOM),
        Protocol("xmtf-mt5", _MT5),
        Protocol("per-token-bloom", _WHOLE_BLOOM, "mean"),
        Protocol("per-token-mt5", _WHOLE_MT5, "mean"),
        Protocol("pmi-bloom", replace(_WHOLE_BLOOM, empty_prompt_is_end=True), "pmi"),
        Protocol("pmi-mt5", _WHOLE_MT5, "pmi"),
        Protocol("lm-eval-bloom", _LM_EVAL),
        Protocol("lm-eval-mt5", _LM_EVAL),
    )
}
_SHORT = ("xmtf", "per-token", "pmi", "lm-eval")


def protocol_for(model: Model, name: str | None) -> Protocol:
    """Return the protocol of a name: "xmtf", "per-token", "pmi" and "lm-eval" select the model's variant; None is "xmtf".

    Raises:
        UnknownName: no such protocol, or a short name for a model other than BLOOM and mT5, which needs the full name.
    """
    wanted = name or "xmtf"
    if not isinstance(wanted, str):
        raise UnknownName(f"protocol={name!r}; choose one of: {', '.join(_SHORT)}, {', '.join(PROTOCOLS)}")
    if wanted in PROTOCOLS:
        return PROTOCOLS[wanted]
    full = f"{wanted}-{model.architecture}"
    if full in PROTOCOLS:
        return PROTOCOLS[full]
    if f"{wanted}-bloom" in PROTOCOLS:
        raise UnknownName(
            f"{model.name} is a {model.architecture}, for which {wanted!r} is not defined; "
            f"name {wanted}-bloom or {wanted}-mt5"
        )
    raise UnknownName(
        f"no protocol called {wanted!r}; choose one of: {', '.join(_SHORT)}, {', '.join(PROTOCOLS)}"
    )
