"""The parameters of our notebooks: one model each, under the notebook's name without `.ipynb`.

A test keeps each model equal to the notebook's cell tagged `parameters` (names, types, defaults). What the cell cannot
say stands here: ranges, closed choices, what a value means. To add a notebook, add its model and its line in SCHEMAS.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(min_length=1)]
Names = Annotated[list[Name], Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Meanings = Annotated[int, Field(ge=8, le=80)]  # as many as the task files hold
Seed = Annotated[int, Field(ge=0)]


class Parameters(BaseModel):
    """Strict: nothing unknown, no text read as a number or a boolean, no boolean as a number."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, validate_default=True, protected_namespaces=()
    )


class PromptSensitivity(Parameters):
    """01_prompt_sensitivity: wordings, languages, and the closing mark."""

    model: Name = "mini-bloomz"
    partner_model: Name = "mini-mt0"
    tasks: Names = ["what", "sentiment"]
    languages: Names = ["x-en", "x-fr", "x-es", "x-id"]
    prompt_language: Name = "x-en"
    limit: Meanings = 40
    open_task: Name = "translation"
    open_languages: Names = ["x-fr", "x-en30"]
    open_wordings: Names = ["to", "from_to"]
    seed: Seed = 0


class LanguageTransfer(Parameters):
    """02_language_transfer: gains over the base in languages that finetuning did and did not contain."""

    models: Names = ["mini-bloomz", "mini-mt0"]
    bases: Names = ["mini-bloom", "mini-mt5"]
    tasks: Names = ["what", "where", "sentiment"]
    finetuned: Names = ["x-en", "x-fr", "x-en30"]
    left_out: Names = ["x-es", "x-id", "x-en00", "x-en00r"]
    wordings: Names = ["ask", "tell"]

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if len(self.models) != len(self.bases):
            raise ValueError(
                f"{len(self.models)} models came with {len(self.bases)} bases; give each model its base"
            )
        both = set(self.finetuned) & set(self.left_out)
        if both:
            raise ValueError(f"{', '.join(sorted(both))} cannot be both finetuned and left out")
        return self

    limit: Meanings = 60


class Probing(Parameters):
    """03_probing: linear probes of every layer."""

    model: Name = "mini-bloomz"
    encoder_decoder: Name = "mini-mt0"
    attribute: Literal["object", "place", "verb", "polarity"] = "object"
    pivot: Name = "x-en"
    languages: list[Name] = []
    sentences: Annotated[int, Field(ge=30, le=420)] = 300
    folds: Annotated[int, Field(ge=2)] = 3
    seed: Seed = 0


SCHEMAS: dict[str, type[Parameters]] = {
    "01_prompt_sensitivity": PromptSensitivity,
    "02_language_transfer": LanguageTransfer,
    "03_probing": Probing,
}
