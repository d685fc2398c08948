"""Known checkpoints and facts about them: the BLOOMZ & mT0 catalogue, and families that other packages register.

`catalogue` holds the built-in family, `languages` what its corpora contain, `checkpoints` the record of one checkpoint, and `plugins` the
record of a family and the registry. Imports neither model code nor pandas.
"""

from workbench.family.catalogue import PUBLISHED_TRUNCATION, checkpoints
from workbench.family.checkpoints import (
    BYTES_PER_PARAMETER,
    BYTES_PER_QUANTIZED,
    Checkpoint,
    count_parameters,
    memory_needed,
)
from workbench.family.gguf_names import GgufName, gguf_name, is_gguf, stated
from workbench.family.languages import Language, find_language, languages, languages_seen
from workbench.family.plugins import (
    Badge,
    Family,
    badge_of,
    data_badge,
    data_files,
    families,
    family_of,
    family_with_data,
    find,
    fitting_source,
    parents,
    registered,
    shared_badge,
    shipped,
    vocabulary,
)
from workbench.family.served import ServedName, declared_checkpoint, is_served, served_name

__all__ = [
    "BYTES_PER_PARAMETER",
    "BYTES_PER_QUANTIZED",
    "PUBLISHED_TRUNCATION",
    "Badge",
    "Checkpoint",
    "Family",
    "GgufName",
    "Language",
    "ServedName",
    "badge_of",
    "checkpoints",
    "count_parameters",
    "data_badge",
    "data_files",
    "declared_checkpoint",
    "families",
    "family_of",
    "family_with_data",
    "find",
    "find_language",
    "fitting_source",
    "gguf_name",
    "is_gguf",
    "is_served",
    "languages",
    "languages_seen",
    "memory_needed",
    "parents",
    "registered",
    "served_name",
    "shared_badge",
    "shipped",
    "stated",
    "vocabulary",
]
