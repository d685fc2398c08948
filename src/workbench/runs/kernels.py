"""The kernel of a run: this Python interpreter, connected through private sockets.

The kernel is started afresh, or, if the run's process was forked, forked from it too: `WaitingKernel` is created before
the run's process starts any thread, and becomes an IPython kernel when the notebook's client asks for one.
"""

import json
import os
import sys
from importlib.metadata import EntryPoint
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import zmq
from ipykernel.kernelapp import IPKernelApp
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

from workbench.runs.forking import Forked

_NAME = "workbench-run"  # name of our provisioner in jupyter_client's registry
_LONGEST_SOCKET = 100  # characters of a socket's path; systems allow 104 to 108


class WaitingKernel:
    """A process that waits for the name of its connection file, and then becomes an IPython kernel."""

    def __init__(self) -> None:
        listen, self._orders = os.pipe()
        forks = get_context("fork")  # of this process alone, which has no other threads yet
        self.process = Forked(forks.Process(target=_be_kernel, args=(listen, self._orders), daemon=True))
        os.close(listen)

    def start(self, connection_file: str, cwd: str, environment: dict[str, str]) -> Forked:
        """Start the kernel in a folder and with an environment."""
        orders = {"connection_file": connection_file, "cwd": cwd, "environment": environment}
        with os.fdopen(self._orders, "w", encoding="utf-8") as pipe:
            json.dump(orders, pipe)
        return self.process


def _be_kernel(listen: int, other_end: int) -> None:
    os.close(other_end)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    parent = os.getppid()
    with os.fdopen(listen, encoding="utf-8") as pipe:
        text = pipe.read()
    if not text:  # the run ended before it needed a kernel
        return
    orders = json.loads(text)
    os.chdir(orders["cwd"])
    os.environ.clear()
    os.environ.update(orders["environment"])
    np.random.seed()  # else kernels forked from one parent would draw the same numbers without a seed
    sys.argv = ["ipykernel_launcher", "-f", orders["connection_file"]]
    IPKernelApp.launch_instance(argv=[*sys.argv[1:], f"--IPKernelApp.parent_handle={parent}"])


class Provisioner(LocalProvisioner):
    """Launches the kernel, or starts the waiting one, and records its process id."""

    waiting: ClassVar[WaitingKernel | None] = None

    async def launch_kernel(self, cmd: list[str], **settings: Any) -> Any:
        """Launch the kernel as LocalProvisioner does, or start the waiting kernel in its place."""
        if self.waiting is None:
            await super().launch_kernel(cmd, **settings)
        else:
            self.cwd = settings.get("cwd") or os.getcwd()
            connection_file = cmd[cmd.index("-f") + 1]
            process: Any = self.waiting.start(connection_file, str(self.cwd), dict(settings["env"]))
            self.process, self.pid, self.pgid = process, process.pid, process.pid
        # The kernel leads its own session, so whoever kills this run needs its process id.
        Path(os.environ["JUPYTER_RUNTIME_DIR"], "kernel.pid").write_text(str(self.pid), encoding="ascii")
        return self.connection_info


class PrivateKernel(AsyncKernelManager):
    """Starts the kernel of a run, with its sockets in the run's own runtime folder; uses TCP ports where IPC is not available."""

    def __init__(self, **settings: Any) -> None:
        # The default, `kernel-ipc` in the working folder, is shared by all runs.
        private = os.environ["JUPYTER_RUNTIME_DIR"]
        mine = {"connection_file": f"{private}/kernel.json"}
        if zmq.has("ipc") and len(private) < _LONGEST_SOCKET - len("/k-10"):
            mine |= {"transport": "ipc", "ip": f"{private}/k"}
        super().__init__(**{**settings, **mine})

    @property
    def kernel_spec(self) -> KernelSpec:
        """The interpreter that runs this process, whatever kernels are installed."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        metadata = {"kernel_provisioner": {"provisioner_name": _NAME}}
        return KernelSpec(argv=command, display_name="Python 3", language="python", metadata=metadata)


def manager_for(waiting: WaitingKernel | None) -> type[PrivateKernel]:
    """Register our provisioner and return the manager class that starts `waiting`, or a fresh kernel if it is None."""
    Provisioner.waiting = waiting
    entry = EntryPoint(_NAME, f"{__name__}:{Provisioner.__name__}", KernelProvisionerFactory.GROUP_NAME)
    KernelProvisionerFactory.instance().provisioners[_NAME] = entry
    return PrivateKernel
