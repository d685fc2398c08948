"""The page `docs/benchmarks.md`: the method, and the figures of every kind of processor that was measured."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks.results import Part, read, table

_METHOD = """# Benchmarks
Written by `make bench` (`python -m benchmarks`); `make bench QUICK=1` measures a quarter and keeps nothing. Figures of the same table were
measured in one run, contestants in turn on the same orders, each in a process of its own: compare columns, not seconds of different
machines.

- **The models** are random weights at the real sizes of bloomz-560m and mt0-small, with a tokenizer that makes one token of every word.
- **Ranking** is rank classification of three shapes after prompts of about 100 tokens: (a) 3 labels of 2 to 4 tokens, (b) 3 labels of
  1 token, (c) 2 sentences of 12 to 18 tokens. Everybody's scores are compared with ours; the largest difference stands beside the seconds.
- **Generation** is greedy. On the BLOOM side answers have 7 tokens on average and 32 at most; on mT5's, 16.
- **The floor** of a row is the time its indispensable multiplications take at the rate of one large multiplication on this machine:
  every prompt read once, of every choice only what others do not share, the head once per token that is scored. lm-evaluation-harness
  reads a prompt once per choice and applies the head at every position, so anybody who multiplies as fast as it does can gain no more
  than what stands in its row as "at equal rates at most".
- **lm-eval** is lm-evaluation-harness with 16 rows; **transformers** is its `pipeline`, and for mT5 `generate` in batches, since there is
  no pipeline for encoder–decoders any more; **CTranslate2** gets batches of 1,024 tokens like ours. The seconds in brackets are the
  fastest and slowest repetition. A part whose versions name no ctranslate2 was measured before it took part.
"""


def write(folder: Path, page: Path) -> None:
    """Write the page from the files of all kinds of processors in a folder."""
    kinds = {path.stem: read(path) for path in sorted(folder.glob("*.json"))}
    page.write_text(_METHOD + "".join(_of(kind, parts) for kind, parts in kinds.items()), encoding="utf-8")


def _of(kind: str, parts: Mapping[str, Part]) -> str:
    findings = [each for part in parts.values() for each in part.findings]
    return f"\n## {kind}\n{table(findings)}{_facts(parts)}"


def _facts(parts: Mapping[str, Part]) -> str:
    """Say of each set of facts which parts were made under it."""
    named: dict[str, list[str]] = {}
    for name, part in parts.items():
        said = "; ".join(f"{what} {value}" for what, value in part.made.items())
        named.setdefault(said, []).append(name)
    return "".join(f"\n{', '.join(names)}: {said}.\n" for said, names in named.items())
