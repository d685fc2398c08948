"""What this process may use of its machine: the cores and GPUs of its allocation, not all that there are."""

import os

from joblib import cpu_count

from workbench.runs.run_id import gpus

_SLURM = (
    "SLURM_CPUS_PER_TASK",
    "SLURM_CPUS_ON_NODE",
)  # the first that is set; not every cluster confines a job to them


def cores() -> int:
    """Return the number of cores that this process may use: affinity, the quota of its control group, SLURM's allocation."""
    allocated = next((int(os.environ[name]) for name in _SLURM if os.environ.get(name, "").isdigit()), 0)
    usable = int(cpu_count())
    return max(1, min(usable, allocated or usable))


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, as CUDA numbers them."""
    count = len(gpus())
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if count == 0 or named is None:
        return [str(number) for number in range(count)]
    return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
