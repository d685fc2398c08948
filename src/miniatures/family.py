"""The miniature family as a plug-in of the workbench: its checkpoints, described from their folders, its tasks and its badge."""

import json
from pathlib import Path

from miniatures.words import check_prompts
from miniatures.world import read_world
from workbench.family import Checkpoint, Family, count_parameters
from workbench.paths import data_path

ABOUT = (
    "The items are sentences of the miniature world: a test bed for these measures, and no evidence about BLOOMZ or mT0 on "
    "natural text."
)
_MIXTURES = {"": ("xP3", "English"), "mt": ("xP3mt", "non-English"), "p3": ("P3", "research only")}


def family(folder: Path | None = None) -> Family:
    """Return the family in a folder laid out as the shipped `data/mini`; the entry point of the group `workbench.families`."""
    folder = folder or data_path("mini")
    members = [describe(path.parent) for path in folder.glob("models/*/config.json")]
    return Family(
        "miniatures",
        tuple(sorted(members, key=lambda one: (one.architecture, one.parent or "", one.name))),
        badge="SYNTHETIC",
        languages=read_world(folder).languages,
        data=folder,
        check_prompts=check_prompts,
        source="miniature",
        about=ABOUT,
        attribute="class",
        finetuned=("x-en", "x-fr", "x-id", "x-zh"),  # as `examples.FINETUNED`, which would import the prompts
    )


def describe(member: Path) -> Checkpoint:
    """Describe a member from its name and its configuration."""
    sizes = json.loads((member / "config.json").read_text(encoding="utf-8"))
    architecture = sizes["model_type"]
    keys = {"bloom": ("n_layer", "hidden_size", "n_head"), "mt5": ("num_layers", "d_model", "num_heads")}
    layers, width, heads = (sizes[key] for key in keys[architecture])
    shape = {
        "layers": layers,
        "width": width,
        "heads": heads,
        "feed_forward": sizes.get("d_ff", 4 * width),
        "vocabulary": sizes["vocab_size"],
    }
    base, _, suffix = member.name.removeprefix("mini-").partition("-")
    parent = {"bloomz": "mini-bloom", "mt0": "mini-mt5"}.get(base)
    mixture, prompt_language = _MIXTURES[suffix] if parent else ("none", "not recommended")
    return Checkpoint(
        name=member.name,
        hub_id=member.name,
        architecture=architecture,
        parameters=count_parameters(architecture, **shape, head_width=sizes.get("d_kv", 0)),
        **shape,
        parent=parent,
        mixture=mixture,
        prompt_language=prompt_language,
        steps=None,
        tokens=None,
        precision="float16",
        licence="apache-2.0",
        context_length=None,
        revision=None,
        unverified=(),
        source=f"trained by this project's recipe; {member}",
        folder=member,
    )
