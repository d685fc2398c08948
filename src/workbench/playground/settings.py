"""How answers are generated: greedily, with beams, or sampled with a seed."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from workbench.errors import BadInput

Strategy = Literal["greedy", "beams", "sampling"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


@dataclass(frozen=True)
class Settings:
    """The settings of an answer; `beams` counts only for beams, and `temperature` and `seed` only for sampling.

    Raises:
        BadInput: an unknown strategy.
    """

    strategy: Strategy = "greedy"
    max_new_tokens: int = 24
    beams: int = 4
    temperature: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the strategy."""
        if self.strategy not in STRATEGIES:
            raise BadInput(f"no strategy called {self.strategy!r}; choose one of: {', '.join(STRATEGIES)}")

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `generate`."""
        length = {"max_new_tokens": self.max_new_tokens}
        if self.strategy == "beams":
            return {**length, "num_beams": self.beams}
        if self.strategy == "sampling":
            return {**length, "do_sample": True, "temperature": self.temperature, "seed": self.seed}
        return length
