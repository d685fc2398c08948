"""Items (prompt, choices, gold answer, language) made from data sets.

`read_data` gives a task's rows and wordings from any source: tasks that ship with a family, published tasks (from the hub or
from files in the same schema), words of CLDR, our own sentences, and your own rows; `read_texts` gives
annotated texts for probes and retrieval. `limit` counts meanings, so that every language gets the same ones, as far as it
has them.
"""

from workbench.tasks.benchmarks import Benchmark, Kind, benchmarks, contamination
from workbench.tasks.data import Data
from workbench.tasks.defaults import Fitting, attributes, expect_attribute, fitting, word_of
from workbench.tasks.exposure import Exposure, exposure, seen_in_finetuning
from workbench.tasks.items import Asked, Item, make_items, pair_items
from workbench.tasks.local import english_of, offline_tasks, read_rows, read_sentences, task_templates, tasks
from workbench.tasks.rows import fingerprint, read_any, read_benchmark
from workbench.tasks.selection import shared_meanings
from workbench.tasks.shots import ask_with_shots, few_shot_items
from workbench.tasks.sources import read_data, read_texts, sources
from workbench.tasks.spelling import match_answer

__all__ = [
    "Asked",
    "Benchmark",
    "Data",
    "Exposure",
    "Fitting",
    "Item",
    "Kind",
    "ask_with_shots",
    "attributes",
    "benchmarks",
    "contamination",
    "english_of",
    "expect_attribute",
    "exposure",
    "few_shot_items",
    "fingerprint",
    "fitting",
    "make_items",
    "match_answer",
    "offline_tasks",
    "pair_items",
    "read_any",
    "read_benchmark",
    "read_data",
    "read_rows",
    "read_sentences",
    "read_texts",
    "seen_in_finetuning",
    "shared_meanings",
    "sources",
    "task_templates",
    "tasks",
    "word_of",
]
