"""The two sides of the family, and the mixture on which each member was finetuned."""

from dataclasses import dataclass

from miniatures.examples import FINETUNED
from miniatures.world import PIVOT


@dataclass(frozen=True)
class Side:
    """The members of one architecture: the base and those finetuned on xP3, xP3mt and P3."""

    name: str
    base: str
    xp3: str
    xp3mt: str
    p3: str

    def finetuned(self) -> dict[str, tuple[str, ...]]:
        """Return the finetuned members, each with its finetuning languages."""
        return {self.xp3: FINETUNED, self.xp3mt: FINETUNED, self.p3: (PIVOT,)}

    def members(self) -> tuple[str, ...]:
        """Return all four members, the base first."""
        return (self.base, self.xp3, self.xp3mt, self.p3)


SIDES = (
    Side("bloom", "mini-bloom", "mini-bloomz", "mini-bloomz-mt", "mini-bloomz-p3"),
    Side("mt5", "mini-mt5", "mini-mt0", "mini-mt0-mt", "mini-mt0-p3"),
)
