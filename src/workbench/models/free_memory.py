"""Free memory of the device that a model is for.

On the CPU it is the least of what the machine has and what the control groups of this process leave.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")
_FILES = {  # by controller: limit, use, and what comes before the names of the file cache
    "": ("memory.max", "memory.current", ""),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
}


def free_memory(device: str, *, offload: bool = False) -> int:
    """Return the free bytes of the device that a name of `load` stands for.

    Args:
        offload: Count the CPU's memory too if the name is "auto", since weights that the GPUs have no room for lie there.
    """
    if device == "cpu":
        return _on_cpu()
    room = import_module("workbench.engines.transformers.out_of_memory")  # late: it imports torch
    on_gpu: int | None = room.free_on_gpu(device)
    if on_gpu is None:
        return _on_cpu()
    return on_gpu + (_on_cpu() if offload and device == "auto" else 0)


def _on_cpu() -> int:
    return min([int(psutil.virtual_memory().available), *left_by_groups()])


def left_by_groups(root: Path = _CGROUP, of: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """Yield what the memory limits of this process's control groups (version 1 or 2) leave; the file cache counts as free.

    Args:
        root: Where the groups are mounted.
        of: The file that says which groups a process is in.
    """
    try:
        lines = of.read_text(encoding="utf-8").splitlines()
    except OSError:
        return  # not Linux
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in _FILES:
            base = root / controllers
            inner = base / path.lstrip("/")
            for folder in (inner, *inner.parents):
                yield from _left_in(folder, *_FILES[controllers])
                if folder == base:
                    break


def _left_in(folder: Path, limit: str, used: str, prefix: str) -> Iterator[int]:
    try:
        most, now = (int((folder / name).read_text(encoding="ascii")) for name in (limit, used))
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        stat = {name: int(value) for name, value in map(str.split, lines)}
    except (OSError, ValueError):  # no such group here, or "max": no limit
        return
    cache = sum(stat.get(f"{prefix}{kind}_file", 0) for kind in ("active", "inactive"))
    yield max(0, most - now + cache)
