"""The parameters of our notebooks: one pydantic model each, under the notebook's name without `.ipynb`.

A test keeps each model equal to the notebook's cell tagged `parameters` (names, types, defaults). The models add what the
cell cannot express: ranges, closed choices, the meaning of values. To add a notebook, add its model and its entry in SCHEMAS.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from workbench.family import shared_badge
from workbench.runs.names import (
    expect_languages,
    expect_names,
    expect_wordings,
    languages,
    published_tasks,
    ranked_tasks,
    tasks,
    wordings,
)

Name = Annotated[str, Field(min_length=1)]
Names = Annotated[list[Name], Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Meanings = Annotated[int, Field(ge=8, le=48)]  # the task files hold 48
Seed = Annotated[int, Field(ge=0)]


class Parameters(BaseModel):
    """Strict validation: no unknown names, no text read as a number or boolean, no boolean as a number."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, validate_default=True, protected_namespaces=()
    )


class PromptSensitivity(Parameters):
    """01_prompt_sensitivity: wordings, languages, and the closing mark."""

    model: Name = "mini-bloomz"
    partner_model: Name = "mini-mt0"
    tasks: Names = ["how_many", "sentiment"]
    languages: Names = ["x-en", "x-fr", "x-zh", "x-sw"]
    prompt_language: Name = "x-en"
    limit: Meanings = 24
    open_task: Literal["translation"] = "translation"  # the only task whose texts can be continued
    open_languages: Names = ["x-fr", "x-id"]
    open_wordings: Names = ["to", "from_to"]
    seed: Seed = 0

    @model_validator(mode="after")
    def _are_known(self) -> Self:
        shared_badge([self.model, self.partner_model])
        expect_names("tasks", self.tasks, ranked_tasks())
        expect_languages("languages", self.languages, self.tasks)
        for task in self.tasks:
            spoken = tuple(dict.fromkeys(one["language"] for one in wordings(task)))
            expect_names("prompt_language", [self.prompt_language], spoken)
        expect_languages("open_languages", self.open_languages, [self.open_task])
        expect_wordings("open_wordings", self.open_wordings, [self.open_task])
        return self


class LanguageTransfer(Parameters):
    """02_language_transfer: gains over the base in languages that finetuning did and did not contain.

    Each model has its base and, where there are any, the base's finetunings on English alone and with native wordings.
    """

    models: Names = ["mini-bloomz", "mini-mt0"]
    bases: Names = ["mini-bloom", "mini-mt5"]
    english_models: list[Name] = ["mini-bloomz-p3", "mini-mt0-p3"]
    native_models: list[Name] = ["mini-bloomz-mt", "mini-mt0-mt"]
    tasks: Names = ["sentiment", "topic", "copy"]
    finetuned: Names = ["x-en", "x-fr", "x-id", "x-zh"]
    left_out: Names = ["x-es", "x-pt", "x-sw", "x-en30", "x-en00", "x-en30r", "x-en00r"]
    wordings: Names = ["ask"]

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        beside = {
            "bases": self.bases,
            "english_models": self.english_models,
            "native_models": self.native_models,
        }
        for name, found in beside.items():
            if len(found) != len(self.models) and (found or name == "bases"):
                names = f"models has {len(self.models)} name{'s' * (len(self.models) > 1)} and {name} {len(found)}"
                raise ValueError(f"{names}; give as many{'' if name == 'bases' else ', or none'}")
        both = set(self.finetuned) & set(self.left_out)
        if both:
            raise ValueError(f"{', '.join(sorted(both))} cannot be both finetuned and left out")
        shared_badge([*self.models, *self.bases, *self.english_models, *self.native_models])
        expect_names("tasks", self.tasks, ranked_tasks())
        expect_languages("finetuned", self.finetuned, self.tasks)
        expect_languages("left_out", self.left_out, self.tasks)
        expect_wordings("wordings", self.wordings, self.tasks)
        return self

    limit: Meanings = 24


class Probing(Parameters):
    """03_probing: linear probes of every layer."""

    model: Name = "mini-bloomz"
    encoder_decoder: Name = "mini-mt0"
    attribute: Literal["object", "class", "number", "place", "verb", "polarity"] = "object"
    pivot: Name = "x-en"
    languages: list[Name] = []
    sentences: Annotated[int, Field(ge=30, le=420)] = 200
    folds: Annotated[int, Field(ge=2)] = 3
    seed: Seed = 0

    @model_validator(mode="after")
    def _are_known(self) -> Self:
        shared_badge([self.model, self.encoder_decoder])
        expect_names("languages", self.languages, languages("sentences"))
        expect_names("pivot", [self.pivot], self.languages or languages("sentences"))
        return self


class ZeroShotEvaluation(Parameters):
    """04_zero_shot_evaluation: the published table reproduced, checkpoints beside it, miniatures on held-out tasks.

    Empty `data` means the hub, empty `templates` our own, and a `limit` of 0 all items.
    """

    checkpoints: list[Name] = []
    task: Name = "xcopa"
    languages: list[Name] = []
    data: str = ""
    templates: str = ""
    limit: Annotated[int, Field(ge=0)] = 0
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    miniatures: Names = ["mini-bloomz", "mini-mt0"]
    mini_tasks: Names = ["entailment", "coreference", "completion"]
    mini_languages: Names = ["x-en", "x-fr", "x-sw"]
    meanings: Meanings = 24

    @model_validator(mode="after")
    def _are_known(self) -> Self:
        shared_badge(self.checkpoints)
        shared_badge(self.miniatures)
        if not (self.data and self.templates):  # else the task may be a user's own
            expect_names("task", [self.task], (*published_tasks(), *tasks()))
        if self.task in published_tasks():
            expect_names("languages", self.languages, published_tasks()[self.task])
        elif not self.data and self.task in tasks():
            expect_languages("languages", self.languages, [self.task])
        expect_names("mini_tasks", self.mini_tasks, ranked_tasks())
        expect_languages("mini_languages", self.mini_languages, self.mini_tasks)
        return self


class MultitaskFinetuning(Parameters):
    """05_multitask_finetuning: the paper's experiment in miniature, from corpus to finetuned model."""

    model: Literal["mini-bloom", "mini-mt5"] = "mini-bloom"
    mixture: Literal["p3", "xp3", "xp3mt"] = "xp3"
    steps: Annotated[int, Field(ge=20, le=1000)] = 100
    meanings: Annotated[int, Field(ge=2, le=24)] = 12
    family: str = ""
    answers: str = ""
    seed: Seed = 0

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if bool(self.family) != bool(self.answers):
            raise ValueError(
                "family and answers go together; give the folder of a family and its answers, or neither"
            )
        return self


SCHEMAS: dict[str, type[Parameters]] = {
    "01_prompt_sensitivity": PromptSensitivity,
    "02_language_transfer": LanguageTransfer,
    "03_probing": Probing,
    "04_zero_shot_evaluation": ZeroShotEvaluation,
    "05_multitask_finetuning": MultitaskFinetuning,
}
