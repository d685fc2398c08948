"""Simulated quantization: weights rounded as few bits would hold them, and the control, weights moved as far at random.

`rtn4` rounds to the nearest of 16 levels, evenly spaced between the least and the greatest of 64 neighbouring weights. `noise4:0` adds
Gaussian noise from seed 0 instead, with the norm that `rtn4` has in the same matrix. An engine keeps the weights in their dtype, so
neither saves memory or time: they are for comparing precisions on any machine.
"""

import re
from dataclasses import dataclass

_NAME = re.compile(r"rtn([2-8])|noise([2-8]):(0|[1-9]\d{0,8})")
GROUP = 64  # weights of a row that share their levels
NAMES = ("rtn2 to rtn8", "noise2:SEED to noise8:SEED")


@dataclass(frozen=True)
class Simulated:
    """Weights at `bits` bits each; with a seed, noise of the same norm instead of the rounding."""

    bits: int
    seed: int | None = None

    @classmethod
    def read(cls, name: str | None) -> "Simulated | None":
        """Return what a name says; None if it is no simulation's."""
        found = _NAME.fullmatch(name or "")
        if found is None:
            return None
        rounded, moved, seed = found.groups()
        return cls(int(rounded or moved), None if seed is None else int(seed))

    @property
    def name(self) -> str:
        """The name for `load(quantization=…)`."""
        return f"rtn{self.bits}" if self.seed is None else f"noise{self.bits}:{self.seed}"

    @property
    def setting(self) -> str:
        """What is in the key of answers."""
        how = f"to {2**self.bits} levels from least to greatest of {GROUP}"
        return f"{self.name} rounded {how}" if self.seed is None else f"{self.name} noise as rounding {how}"
