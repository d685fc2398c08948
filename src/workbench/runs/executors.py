"""Where the bundles of a sweep are done: on this machine, by the workers of a Dask scheduler, or by jobs of SLURM.

SLURM is asked through dask-jobqueue. executorlib 1.11 reports a killed job as well (after 31 s; here another worker takes over
within 10 s), but its back end pins pandas below 3.1 and one pyzmq, and versions are part of a run's id. Any other cluster that
Dask can start is reached by its scheduler's address.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from queue import SimpleQueue
from typing import Any

from workbench.errors import BadInput
from workbench.runs.bundles import Bundle, State
from workbench.runs.machine import cores, visible_gpus
from workbench.runs.sweep_file import Resources

PLACES = "local, dask:ADDRESS, slurm"


class ThisMachine(ThreadPoolExecutor):
    """Does bundles here, one at a time, or one per GPU (or group of GPUs), which no other bundle of the sweep sees."""

    def __init__(self, gpus_each: int = 1) -> None:
        there = visible_gpus()
        if there and gpus_each > len(there):
            raise BadInput(f"{gpus_each} GPUs for each job, but there are {len(there)}; ask for fewer")
        starts = range(0, len(there) - gpus_each + 1, gpus_each) if there and gpus_each else ()
        self.groups = [there[start : start + gpus_each] for start in starts]
        self._free: SimpleQueue[dict[str, str]] = SimpleQueue()
        for group in self.groups:
            self._free.put({"CUDA_VISIBLE_DEVICES": ",".join(group)})
        super().__init__(max(1, len(self.groups)), thread_name_prefix="bundle")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Schedule a call; its argument is a bundle."""
        return super().submit(self._call, fn, *args, **kwargs)

    def _call(self, fn: Callable[[Bundle], State], bundle: Bundle) -> State:
        if not self.groups:
            return fn(bundle)
        devices = self._free.get()
        workers = bundle.workers or max(1, cores() // len(self.groups))
        try:
            return fn(replace(bundle, workers=workers, environment=devices))
        finally:
            self._free.put(devices)


def expect_place(on: str) -> None:
    """Check a place for runs.

    Raises:
        BadInput: it is none of PLACES.
    """
    if on not in ("local", "slurm") and not (on.startswith("dask:") and on != "dask:"):
        raise BadInput(f"runs cannot be done on {on!r}; choose one of: {PLACES}")


@contextmanager
def executor_on(on: str, resources: Resources, bundles: int) -> Iterator[Executor]:
    """Yield an executor of bundles at one of PLACES, and end what it started.

    Raises:
        BadInput: the extra `cluster` is not installed, or no scheduler answers.
    """
    expect_place(on)
    if on == "local":
        with ThisMachine(1 if resources.gpus is None else resources.gpus) as executor:
            yield executor
        return
    distributed = _needed("distributed")
    if on == "slurm":
        with _slurm_cluster(resources, bundles) as cluster, distributed.Client(cluster) as client:
            yield client.get_executor(pure=False)
        return
    try:
        client = distributed.Client(on.removeprefix("dask:"), timeout="10s")
    except (OSError, ValueError) as error:
        raise BadInput(
            f"no Dask scheduler answers at {on.removeprefix('dask:')}: {error}; give its address"
        ) from error
    with client:
        yield client.get_executor(pure=False)


def _slurm_cluster(resources: Resources, bundles: int) -> Any:
    """Return a Dask cluster whose workers are SLURM jobs, each with one bundle at a time; a job that ended is replaced."""
    memory = (
        resources.memory or "4GB"
    )  # Dask wants a number; SLURM is asked for memory only if the file says so
    cluster = _needed("dask_jobqueue").SLURMCluster(
        queue=resources.partition,
        cores=1,
        job_cpu=resources.cpus or 1,
        memory=memory,
        walltime=resources.time,
        job_extra_directives=[f"--gpus={resources.gpus}"] if resources.gpus else [],
        job_directives_skip=[
            line for line, given in (("--mem", resources.memory), ("SBATCH -t", resources.time)) if not given
        ],
        scheduler_options={"dashboard_address": None},
        log_directory=None,
    )
    jobs = min(resources.jobs or bundles, bundles)
    cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)
    return cluster


def _needed(module: str) -> Any:
    try:
        return import_module(module)  # here only: an optional dependency
    except ImportError as error:
        raise BadInput(
            f"{module} is missing ({error}); install the extra: pip install 'workbench[cluster]'"
        ) from error
