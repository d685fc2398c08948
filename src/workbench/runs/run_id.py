"""The identity of a run, and the environment in which it took place.

`run_id_of` hashes everything that can change the results: the notebook's code, its parameters, our code and data, the
versions of the libraries, the models that the parameters name, and what the notebook reads (`workbench.runs.inputs`).
"""

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from workbench.paths import PACKAGE, data_path

PINS = (
    "accelerate", "datasets", "ipykernel", "jinja2", "matplotlib", "nbclient", "numpy", "pandas", "papermill",
    "pyarrow", "pydantic", "safetensors", "scikit-learn", "scipy", "tokenizers", "torch", "transformers",
)  # fmt: skip
_SLUG = 60  # characters


def package_versions() -> dict[str, str]:
    """Return the installed version of each main package; missing packages are left out."""
    found = {}
    for name in PINS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def tree_digest(root: Path, *, but: tuple[str, ...] = ()) -> str:
    """Return the SHA-256 over names and contents of the files under `root`, without caches and the top-level folders in `but`."""
    digest = sha256()
    for path in _files_under(root, but):
        name = "/".join(path.relative_to(root).parts)
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _files_under(root: Path, but: tuple[str, ...]) -> list[Path]:
    found = []
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if parts[0] in but or "__pycache__" in parts or path.name.startswith("."):
            continue
        found += [path] if path.is_file() else []
    return found


def run_id_of(spec: Mapping[str, Any], unusual: Mapping[str, Any]) -> str:
    """Return a readable slug of the parameters that differ from their defaults, and 12 hexadecimal digits of the hash of `spec`.

    If the slug is too long, its longest parts are cut, so that the short parameter over which a sweep varies stays whole.
    """
    words = [
        f"{name}-{value}" if name != "model" else str(value).rsplit("/", 1)[-1]
        for name, value in unusual.items()
    ]
    words = [found for word in words if (found := re.sub(r"[^A-Za-z0-9.]+", "-", word).strip("-."))]
    fitting = (w for w in range(_SLUG) if sum(min(len(word), w) + 1 for word in words) <= _SLUG)
    width = max(fitting, default=1)
    slug = "-".join(word[:width].rstrip("-.") for word in words) or "default"
    return f"{slug}-{sha256(json.dumps(spec, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:12]}"


def ground() -> dict[str, Any]:
    """Return what all runs started now have in common: digests of our code and data, and the versions of the libraries."""
    return {
        "code_sha256": tree_digest(PACKAGE, but=("data", "notebooks")),
        "data_sha256": tree_digest(data_path(), but=("expected",)),
        "python": platform.python_version(),
        "packages": package_versions(),
    }


def stamp() -> str:
    """Return a hash over names, sizes and modification times of our code and data: cheap, and changes with any of them."""
    files = [
        *_files_under(PACKAGE, ("data", "notebooks")),
        *_files_under(data_path(), ("expected",)),
    ]
    facts = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return sha256(json.dumps(facts).encode()).hexdigest()


def surroundings() -> dict[str, Any]:
    """Return the Git state of the checkout (None when installed from a wheel) and the hardware; recorded, not hashed."""
    return {
        "git": _git(PACKAGE.parents[1]),
        "platform": platform.platform(),
        "hardware": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_bytes": _memory(),
            "gpus": gpus(),
        },
    }


def _git(folder: Path) -> dict[str, Any] | None:
    if not (folder / ".git").exists() or shutil.which("git") is None:
        return None
    commit = _said("git", "-C", str(folder), "rev-parse", "HEAD")
    changed = _said("git", "-C", str(folder), "status", "--porcelain", "--", "src", "data")
    return {"commit": commit or None, "dirty": bool(changed)}


def gpus() -> list[str]:
    """Return the name and driver of each GPU, as nvidia-smi reports them."""
    if shutil.which("nvidia-smi") is None:
        return []
    return _said("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").splitlines()


def _said(*command: str) -> str:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
