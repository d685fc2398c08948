"""The parameters of our notebooks: one model each, under the notebook's name without `.ipynb`.

A test keeps each model equal to the notebook's cell tagged `parameters` (names, types, defaults). What the cell cannot
say stands here: ranges, closed choices, what a value means. To add a notebook, add its model and its line in SCHEMAS.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1)]
Names = Annotated[list[Name], Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
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
    limit: Count = 40
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
    limit: Count = 60


class Probing(Parameters):
    """03_probing: linear probes of every layer."""

    model: Name = "mini-bloomz"
    encoder_decoder: Name = "mini-mt0"
    attribute: Name = "object"
    pivot: Name = "x-en"
    languages: list[Name] = []
    sentences: Count = 300
    folds: Annotated[int, Field(ge=2)] = 3
    seed: Seed = 0


SCHEMAS: dict[str, type[Parameters]] = {
    "01_prompt_sensitivity": PromptSensitivity,
    "02_language_transfer": LanguageTransfer,
    "03_probing": Probing,
}
