"""Answer packs: the answers of chosen models in one file, for those who have neither the weights nor the hardware.

A pack is a zip of `pack.json` (format, which name stood for which weights, the contexts, counts, and the SHA-256 of the
answers) and `answers.jsonl` (one answer per line; arrays as base64 of an .npy file). Nothing in it is executed or unpickled.
It is checked as a whole before a single answer is taken in. The same store gives the same bytes.
"""

import base64
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from workbench.atomic import make_folder, written_whole
from workbench.errors import BadInput, UnknownName
from workbench.store import Store, canonical
from workbench.store.names import public_identities

FORMAT = 1
_KIND = "workbench answer pack"
_BATCH = 5000
_ENTRY = {"context": int, "question": str, "device": str, "batch_size": int}


@dataclass(frozen=True)
class PackInfo:
    """What a pack holds: names of its models, answers, and the settings they were asked with."""

    path: Path
    models: tuple[str, ...]
    answers: int
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Taken:
    """What an import did: answers that were new, and names kept because they mean other weights here."""

    answers: int
    new: int
    kept_names: tuple[str, ...]


def digests_of_run(folder: Path) -> list[str]:
    """The weights that a run of a notebook, or an evaluation, rests on.

    Raises:
        BadInput: the folder is neither.
    """
    for name, path in (("run.json", ("facts", "models")), ("evaluation.json", ("models",))):
        if (folder / name).is_file():
            facts = json.loads((folder / name).read_text(encoding="utf-8"))
            for step in path:
                facts = facts.get(step, {})
            return sorted({about["weights_digest"] for about in facts.values()})
    raise BadInput(f"{folder} is no run: it has neither run.json nor evaluation.json")


def export_pack(
    store: Store, path: Path, *, models: Sequence[str] = (), runs: Sequence[Path] = ()
) -> PackInfo:
    """Write the answers of models (by name, hub id or digest) and of the models of runs; of all, if none are named.

    A name stands for all weights it has had; the pack names no folder of this machine.

    Raises:
        UnknownName: the store has no answers of that model; the message lists those it has.
        BadInput: a folder that is no run. StoreFailed: a damaged entry, or the disk did not take the file.
    """
    contexts = [(context, json.loads(context)) for context in store.contexts()]
    there = {str(fields.get("weights")) for _, fields in contexts}
    identities = {name: about for name, about in store.identities().items() if about["weights"] in there}
    wanted = {digest for run in runs for digest in digests_of_run(run)}
    for name in models:
        wanted |= _digests_of(name, identities, there)
    chosen = [
        context for context, fields in contexts if fields.get("weights") in wanted or not (models or runs)
    ]
    known = {fields.get("weights") for context, fields in contexts if context in set(chosen)}
    if not chosen:
        raise UnknownName(
            f"the store {store.path} has no such answers; it has those of: {_names(identities) or 'no named model'}"
        )
    body = "".join(_lines(store, chosen)).encode()
    header = {
        "kind": _KIND,
        "format": FORMAT,
        "identities": public_identities(
            {name: about for name, about in identities.items() if about["weights"] in known}
        ),
        "contexts": chosen,
        "answers": body.count(b"\n"),
        "sha256": sha256(body).hexdigest(),
    }
    _write_zip(path, header, body)
    return check_pack(path)


def import_pack(store: Store, path: Path) -> Taken:
    """Take a pack's answers in; what is there already stays. A name that means other weights here keeps its meaning.

    Raises:
        BadInput: no pack, a damaged one, or one of a newer format; nothing is taken in then.
        StoreFailed: the store did not take it; batches before are kept, and importing again is safe.
    """
    header, entries = _read(path)
    before = store.info()["answers"]
    of_context: dict[int, list[dict[str, Any]]] = {}
    for entry in entries:
        of_context.setdefault(entry["context"], []).append(entry)
    for number, part in of_context.items():
        for group in _alike(part):
            for start in range(0, len(group), _BATCH):
                pairs = [(entry["question"], _value(entry)) for entry in group[start : start + _BATCH]]
                first = group[0]
                store.put(
                    header["contexts"][number], pairs, device=first["device"], batch_size=first["batch_size"]
                )
    kept = []
    for name, identity in header["identities"].items():
        here = store.identity(name)
        if here is not None and here["weights"] != identity["weights"]:
            kept.append(name)
        else:
            store.remember_identity(name, identity)
    return Taken(len(entries), store.info()["answers"] - before, tuple(kept))


def check_pack(path: Path) -> PackInfo:
    """Read a whole pack and say what it holds.

    Raises:
        BadInput: as `import_pack`.
    """
    header, entries = _read(path)
    settings = []
    for context in header["contexts"]:
        fields = json.loads(context)
        names = [
            name for name, about in header["identities"].items() if about["weights"] == fields.get("weights")
        ]
        model = names[0] if names else str(fields.get("weights"))[:12]
        rest = [
            f"{k}={canonical(v)}"
            for k, v in fields.items()
            if k not in ("kind", "weights", "tokenizer", "dtype")
        ]
        settings.append(f"{fields.get('kind')} {model} {fields.get('dtype')}: {' '.join(rest)}")
    return PackInfo(path, tuple(header["identities"]), len(entries), tuple(settings))


def _digests_of(name: str, identities: dict[str, dict[str, Any]], digests: set[str]) -> set[str]:
    """All weights that a name or digest stands for: a name may have come to mean others when it was trained again."""
    found = {name} & digests
    for remembered, about in {**identities, **public_identities(identities)}.items():
        if name in (remembered, about["name"], about["hub_id"]):
            found.add(about["weights"])
    if not found:
        raise UnknownName(
            f"the store has no answers of {name!r}; it has those of: {_names(identities) or 'no named model'}"
        )
    return found


def _names(identities: dict[str, dict[str, Any]]) -> str:
    return ", ".join(dict.fromkeys(about["name"] for about in public_identities(identities).values()))


def _lines(store: Store, contexts: Sequence[str]) -> Iterator[str]:
    for number, context in enumerate(contexts):
        for question, value, device, batch_size in store.entries(context):
            raw = isinstance(value, bytes)
            answer = {"npy": base64.b64encode(value).decode()} if raw else {"answer": value}
            entry = {"context": number, "question": question, "device": device, "batch_size": batch_size}
            yield canonical({**entry, **answer}) + "\n"


def _write_zip(path: Path, header: dict[str, Any], body: bytes) -> None:
    make_folder(path.parent)
    with written_whole(path) as aside, zipfile.ZipFile(aside, "w") as archive:
        for name, content in (("pack.json", canonical(header).encode()), ("answers.jsonl", body)):
            member = zipfile.ZipInfo(name)  # its date is fixed, so the same answers give the same bytes
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content)


def _read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Header and answers, after every check."""
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(archive.read("pack.json"))
            body = archive.read("answers.jsonl")
    except FileNotFoundError:
        raise BadInput(f"no pack at {path}; `workbench store export FILE` writes one") from None
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise BadInput(f"{path} is no whole answer pack ({error}); ask for it again") from error
    if not isinstance(header, dict) or header.get("kind") != _KIND:
        raise BadInput(f"{path} is no answer pack of the workbench")
    if header["format"] > FORMAT:
        raise BadInput(
            f"{path} has format {header['format']}, this workbench reads up to {FORMAT}; update it"
        )
    if sha256(body).hexdigest() != header["sha256"]:
        raise BadInput(
            f"the answers in {path} are not those that were packed (their checksum differs); ask for it again"
        )
    entries = [json.loads(line) for line in io.BytesIO(body)]
    for number, entry in enumerate(entries, start=1):
        typed = all(isinstance(entry.get(field), kind) for field, kind in _ENTRY.items())
        if not typed or not 0 <= entry["context"] < len(header["contexts"]):
            raise BadInput(f"answer {number} in {path} is incomplete; ask for the pack again")
    return header, entries


def _alike(entries: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Entries that were computed on one kind of device in batches of one size, as the store takes them."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for entry in entries:
        groups.setdefault((entry["device"], entry["batch_size"]), []).append(entry)
    return list(groups.values())


def _value(entry: dict[str, Any]) -> Any:
    return base64.b64decode(entry["npy"]) if "npy" in entry else entry["answer"]
