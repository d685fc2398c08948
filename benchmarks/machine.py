"""The machine that is measured: which kind of processor it has, how fast it multiplies, and which versions run on it."""

import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
LIBRARIES = ("torch", "transformers", "lm_eval", "ctranslate2", "tokenizers", "numpy", "papermill")
_KINDS = {  # the units that decide how fast numbers of each precision are multiplied, best first
    "amx_tile": "AMX",
    "avx512_bf16": "AVX-512-BF16",
    "avx512_f": "AVX-512",
    "avx2": "AVX2",
}


def kind() -> str:
    """The kind of this processor; figures are compared, and kept, within a kind."""
    has = torch.cpu.get_capabilities()
    return next((name for unit, name in _KINDS.items() if has.get(unit)), platform.machine())


def rate(dtype: str, device: str = "cpu") -> float:
    """Operations per second of one large multiplication, on a CPU with the shapes in which bloomz-560m spends most of its time.

    What is kept in half precision may be computed in float32, if that is faster.
    """
    return max(_rate(getattr(torch, name), device) for name in {dtype, "float32"})


def _rate(dtype: torch.dtype, device: str) -> float:
    rows, width = (1024, 1024) if device == "cpu" else (16_384, 4096)
    left, right = (torch.randn(n, width, dtype=dtype, device=device) for n in (rows, 4 * width))
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        float(torch.nn.functional.linear(left, right)[0, 0])  # waits for a GPU
        times.append(time.perf_counter() - begun)
    return 2 * left.numel() * 4 * width / min(times)


def facts(command: str, device: str = "cpu") -> dict[str, str]:
    """What figures depend on, with nothing that names the machine's owner."""
    model, info = platform.machine(), Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":")[1].strip() if names else model
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    gpu = torch.cuda.get_device_name() if device == "cuda" else ""
    rates = ", ".join(
        f"{_rate(getattr(torch, name), device) / 1e9:,.0f} in {name}" for name in ("float32", "bfloat16")
    )
    return {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "processor": f"{model}, {os.cpu_count()} cores, {kind()}",
        **({"GPU": gpu} if gpu else {}),
        "GFLOP/s": rates,
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }
