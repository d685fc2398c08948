"""What may come of a thing that was changed at random.

A mutant ends in the right answer, in another one where its content was changed and says so (another digest, key or run), or
in one of the workbench's sentences. Anything else is a fault.
"""

import random
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from workbench.errors import WorkbenchError

SAYS_WHAT_TO_DO = re.compile(
    r"[;–]|\b(give|needed|allowed|takes?|choose|at most|repair|fields are|it has|looks? for|save)\b"
)


class Silent(Exception):
    """A wrong answer without a word."""


@dataclass(frozen=True)
class Mutant:
    """A changed thing: what was done to it, whether that may change its answer, and the ways to use it."""

    what: str
    may_differ: bool
    uses: tuple[Callable[[], bool], ...]  # whether the answer is that of the unchanged thing


@dataclass(frozen=True)
class Ending:
    """How a mutant ended ("same", "other" or "refused"), the exit code it would have, and what is wrong with that."""

    kind: str
    seed: int
    what: str
    how: str
    code: int
    fault: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.seed} ({self.what}): {self.fault or self.how}"


def ending(subject, seed):
    """Make the mutant of a seed, use it in every way, and judge how that ended."""
    mutant = subject.mutant(random.Random(f"{subject.kind} {seed}"))
    how, code, faults = "same", 0, []
    for use in mutant.uses:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                same = use()
        except WorkbenchError as error:
            how, code = "refused", code or error.exit_code
            faults += wrong_with(error, subject.codes)
            continue
        except Exception as error:  # noqa: BLE001  (whatever it is, it is a fault)
            faults.append(f"{type(error).__name__}: {error}")
            continue
        if not same and not mutant.may_differ:
            faults.append("another answer, without a word")
        how = "other" if how == "same" and not same else how
    return Ending(subject.kind, seed, mutant.what, how, code, "; ".join(faults)[:600])


def wrong_with(error, codes):
    """What is wrong with a refusal as a sentence for people."""
    text = str(error)
    if "\n" in text or not text or "Traceback" in text:
        yield f"no single sentence: {text!r}"
    if error.exit_code not in codes:
        yield f"exit code {error.exit_code}: {text}"
    if not SAYS_WHAT_TO_DO.search(text):
        yield f"it says not what to do: {text}"
    if len(text) > 2000:
        yield f"{len(text)} characters: {text[:200]}"
