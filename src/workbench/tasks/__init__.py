"""Items (prompt, choices, gold answer, language) made from data sets.

There are three sources: tasks that ship with a family; tasks of the published evaluation, from the hub or from files in
the same schema; and your own rows. `limit` counts meanings, so that every language gets the same ones.
"""

from workbench.tasks.benchmarks import Benchmark, benchmarks, contamination
from workbench.tasks.items import Asked, Item, make_items
from workbench.tasks.local import english_of, read_rows, read_sentences, task_templates, tasks
from workbench.tasks.reading import fingerprint, read_any, read_benchmark
from workbench.tasks.shots import ask_with_shots, few_shot_items

__all__ = [
    "Asked",
    "Benchmark",
    "Item",
    "ask_with_shots",
    "benchmarks",
    "contamination",
    "english_of",
    "few_shot_items",
    "fingerprint",
    "make_items",
    "read_any",
    "read_benchmark",
    "read_rows",
    "read_sentences",
    "task_templates",
    "tasks",
]
