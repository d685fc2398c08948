"""The kernel of a run: this very Python, over sockets that nobody else can collide with.

Started afresh, or, where the run's own process was forked from a warm parent, forked from it too: `WaitingKernel` is
made before the run's process starts any thread, and becomes an IPython kernel when the notebook's client asks for one.
"""

import json
import os
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import zmq
from ipykernel.kernelapp import IPKernelApp
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

from workbench.runs.forking import Forked

_NAME = "workbench-run"  # of our provisioner, in jupyter_client's registry
_LONGEST_SOCKET = 100  # characters of a socket's path, of some 104 to 108 allowed


class WaitingKernel:
    """A process that waits to be told its connection file, and then is an IPython kernel."""

    def __init__(self) -> None:
        listen, self._tell = os.pipe()
        nothing = os.open(os.devnull, os.O_RDONLY)
        self.process = Forked(lambda: _be_kernel(listen), (nothing, 1, 2), keep=(listen,))
        os.close(listen)
        os.close(nothing)

    def start(self, connection_file: str, cwd: str, environment: dict[str, str]) -> Forked:
        """Let it begin, in a folder and with an environment."""
        told = {"connection_file": connection_file, "cwd": cwd, "environment": environment}
        with os.fdopen(self._tell, "w", encoding="utf-8") as pipe:
            json.dump(told, pipe)
        return self.process


def _be_kernel(listen: int) -> None:
    parent = os.getppid()
    with os.fdopen(listen, encoding="utf-8") as pipe:
        text = pipe.read()
    if not text:  # the run ended before it needed a kernel
        return
    told = json.loads(text)
    os.chdir(told["cwd"])
    os.environ.clear()
    os.environ.update(told["environment"])
    np.random.seed()  # siblings must not draw the same numbers where a notebook sets no seed
    sys.argv = ["ipykernel_launcher", "-f", told["connection_file"]]
    IPKernelApp.launch_instance(argv=[*sys.argv[1:], f"--IPKernelApp.parent_handle={parent}"])


class Provisioner(LocalProvisioner):
    """Launches the kernel, or lets the one that waits begin, and says where its process is."""

    waiting: ClassVar[WaitingKernel | None] = None

    async def launch_kernel(self, cmd: list[str], **settings: Any) -> Any:
        """Do what LocalProvisioner does; with a kernel that waits, with a process that is there already."""
        if self.waiting is None:
            await super().launch_kernel(cmd, **settings)
        else:
            self.cwd = settings.get("cwd") or os.getcwd()
            connection_file = cmd[cmd.index("-f") + 1]
            process: Any = self.waiting.start(connection_file, str(self.cwd), dict(settings["env"]))
            self.process, self.pid, self.pgid = process, process.pid, process.pid
        # The kernel leads a session of its own; whoever ends this run has to know it.
        Path(os.environ["JUPYTER_RUNTIME_DIR"], "kernel.pid").write_text(str(self.pid), encoding="ascii")
        return self.connection_info


class PrivateKernel(AsyncKernelManager):
    """Starts the kernel of a run, with its sockets in the run's own runtime folder; ports where there is no IPC."""

    def __init__(self, **settings: Any) -> None:
        # The default, `kernel-ipc` in the working folder, is everybody's.
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
    """The class of manager, for this process, that starts this waiting kernel, or a fresh one."""
    Provisioner.waiting = waiting
    entry = EntryPoint(_NAME, f"{__name__}:{Provisioner.__name__}", KernelProvisionerFactory.GROUP_NAME)
    KernelProvisionerFactory.instance().provisioners[_NAME] = entry
    return PrivateKernel
