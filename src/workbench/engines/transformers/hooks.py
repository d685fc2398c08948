"""Reading and changing states inside a forward pass of transformers, by hooks that are gone when it ends.

Both address states as `workbench.models.interventions` numbers them. A hook that reads sees what one that changes has left.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from workbench.engines.transformers import anatomy
from workbench.errors import BadInput
from workbench.models.interventions import Intervention, expect_fitting
from workbench.models.requests import Part, Stack

Change = Callable[[torch.Tensor], torch.Tensor | None]  # of states (B, T, D); None: they stay


@contextmanager
def captured(
    model: Any,
    stack: Stack,
    part: Part | Literal["input", "gates"],
    keep: Callable[[torch.Tensor], torch.Tensor],
) -> Iterator[list[torch.Tensor]]:
    """Collect `keep(states)` at every layer during a forward pass inside the context, in order.

    Of "states" L+1, layer 0 first; of its "input" layer 0 alone; of "neurons", their "gates" (what their GELU gets) and
    "cross_attention" L.
    """
    found: list[torch.Tensor] = []

    def read(states: torch.Tensor) -> None:
        found.append(keep(states))

    blocks = anatomy.blocks(model, stack)
    with ExitStack() as hooks:
        if part in ("states", "input"):
            _before(hooks, blocks[0], read)
        for block in blocks if part != "input" else ():
            if part == "states":
                _after(hooks, block, read)
            elif part == "neurons":
                _before(hooks, anatomy.after_neurons(block), read)
            elif part == "gates":
                _after(hooks, anatomy.before_neurons(block), read)
            else:
                _after(hooks, anatomy.cross_attention(block), read)
        yield found


def expect_known(model: Any) -> None:
    """Check that the parts of a model's architecture are known.

    Raises:
        BadInput: they are not.
    """
    if not anatomy.supports(model):
        raise BadInput(
            f"states inside a model are read and changed in BLOOM and mT5, not in {model.config.model_type!r}: "
            "add its parts to workbench.engines.transformers.anatomy"
        )


@dataclass(frozen=True)
class Edits:
    """Interventions on the requests of a call: request number → its prompt and that prompt's number of tokens."""

    model: Any
    interventions: Sequence[Intervention]
    prompts: Sequence[str]
    lengths: Sequence[int]

    def __post_init__(self) -> None:
        """Check that they fit the model. Raises BadInput."""
        expect_known(self.model)
        expect_fitting(self.interventions, anatomy.depths(self.model), anatomy.width(self.model))
        for each in self.interventions:
            if each.kind == "ablate":
                have = anatomy.after_neurons(
                    anatomy.blocks(self.model, each.stack)[each.layers[0] - 1]
                ).in_features
                if max(each.neurons) >= have:
                    raise BadInput(f"neuron {max(each.neurons)}: a block has the neurons 0 to {have - 1}")

    @contextmanager
    def during(self, numbers: Sequence[int], shifts: Sequence[int] | None = None) -> Iterator[None]:
        """Make them in every forward pass inside the context, whose rows are these requests; passes continue one another (a cache).

        Args:
            shifts: by row, the padding before its first token.
        """
        with ExitStack() as hooks:
            for each in self.interventions:
                rows = [
                    row
                    for row, number in enumerate(numbers)
                    if each.prompts is None or self.prompts[number] in each.prompts
                ]
                if not rows:
                    continue
                lengths = {row: self._length(each.stack, numbers[row]) for row in rows}
                places = {row: (shifts[row] if shifts else 0, lengths[row]) for row in rows}
                for index, layer in enumerate(each.layers):
                    blocks = anatomy.blocks(self.model, each.stack)
                    change = _Change(each, index, places)
                    if each.kind == "ablate":
                        _before(hooks, anatomy.after_neurons(blocks[layer - 1]), change)
                    elif each.of == "cross_attention":
                        _after(hooks, anatomy.cross_attention(blocks[layer - 1]), change)
                    else:
                        _hook(hooks, blocks, layer, change)
            yield

    def _length(self, stack: Stack, number: int) -> int:
        """Return the tokens of a prompt in a stack: the decoder behind an encoder has its start token in the prompt's place."""
        return 1 if stack == "decoder" and self.model.config.is_encoder_decoder else self.lengths[number]


@dataclass
class _Change:
    """An intervention at one of its layers, on rows of a batch: row → (padding before it, tokens of its prompt)."""

    made: Intervention
    index: int
    rows: dict[int, tuple[int, int]]
    column: int = field(default=0)  # of the first state in the next pass

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """Return the changed states (B, T, D)."""
        states = states.clone()
        for row, (shift, length) in self.rows.items():
            columns, chosen = self._columns(shift - self.column, length, states.shape[1])
            if columns:
                states[row, columns] = self._changed(states[row, columns], chosen)
        self.column += states.shape[1]
        return states

    def _columns(self, shift: int, length: int, width: int) -> tuple[list[int], list[int]]:
        """Return the columns of this pass where it is made, and for each the index among the intervention's positions."""
        wanted = self.made.positions
        if wanted == "all":
            columns = list(range(max(shift, 0), width))
            return columns, [0] * len(columns)
        places = [length - 1] if wanted == "last" else [each + length * (each < 0) for each in wanted]
        if min(places) < 0 or (self.made.stack == "encoder" and max(places) >= length):
            raise BadInput(f"positions={wanted}, but a prompt has {length} tokens there")
        inside = [(shift + place, index) for index, place in enumerate(places) if 0 <= shift + place < width]
        return [column for column, _ in inside], [index for _, index in inside]

    def _changed(self, states: torch.Tensor, chosen: list[int]) -> torch.Tensor:
        """Return states (P, D) after the change; `chosen` says for each which of the intervention's positions it is."""
        made = self.made
        array = torch.from_numpy(made.array.copy()).to(states.device, states.dtype)
        if made.kind == "ablate":
            states[:, list(made.neurons)] = array
            return states
        if made.kind == "erase":
            wide = states.float()
            center = 0.0 if made.center is None else torch.from_numpy(made.center.copy()).to(wide.device)
            readout = torch.from_numpy((made.array if made.readout is None else made.readout).copy()).to(
                wide.device
            )
            return (wide - (wide - center) @ readout.T @ array.float()).to(states.dtype)
        here = array if array.ndim == 1 else array[self.index]
        here = here[chosen] if here.ndim == 2 else here
        return here.expand_as(states) if made.kind == "patch" else states + here


def _hook(hooks: ExitStack, blocks: Any, layer: int, change: Change) -> None:
    """Call `change` with the states of a layer: the input of the first block for 0, else the output of a block."""
    if layer == 0:
        _before(hooks, blocks[0], change)
    else:
        _after(hooks, blocks[layer - 1], change)


def _before(hooks: ExitStack, module: Any, change: Change) -> None:
    def hook(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        new = change(given[0])
        return None if new is None else (new, *given[1:])

    hooks.callback(module.register_forward_pre_hook(hook).remove)


def _after(hooks: ExitStack, module: Any, change: Change) -> None:
    def hook(_: Any, __: Any, output: Any) -> Any:
        states = output[0] if isinstance(output, tuple) else output
        new = change(states)
        if new is None:
            return None
        return (new, *output[1:]) if isinstance(output, tuple) else new

    hooks.callback(module.register_forward_hook(hook).remove)
