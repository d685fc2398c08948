"""A SLURM cluster of one machine, started and stopped by a test; Debian's packages, as root, no accounting."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch")
CAN_START = all(shutil.which(name) for name in DAEMONS) and getpass.getuser() == "root"

_SETTINGS = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={first}
SlurmdPort={second}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MinJobAge=30
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=short Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def slurm(folder: Path, *, cpus: int = 2) -> Iterator[None]:
    """Run munged, slurmctld and slurmd, with SLURM_CONF set for this process and those it starts."""
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(parents=True)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    first, second = _free_ports(2)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 - 100
    facts = {"host": socket.gethostname().split(".")[0], "folder": folder, "first": first, "second": second}
    (folder / "slurm.conf").write_text(_SETTINGS.format(**facts, cpus=cpus, memory=memory))
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    commands = [
        ["munged", "--foreground", "--force", f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket",
         f"--pid-file={folder}/munge/pid", f"--log-file={folder}/munge/log", f"--seed-file={folder}/munge/seed"],
        ["slurmctld", "-D"],
        ["slurmd", "-D", "-N", str(facts["host"])],
    ]  # fmt: skip
    started = []
    try:
        for command in commands:
            with (folder / f"{command[0]}.out").open("wb") as out:
                started.append(subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True))
            time.sleep(1)
        _until_idle(folder)
        yield
    finally:
        subprocess.run(["scancel", "--user", getpass.getuser()], capture_output=True)
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(30)
        os.environ.pop("SLURM_CONF") if before is None else os.environ.update(SLURM_CONF=before)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _until_idle(folder: Path) -> None:
    for _ in range(60):
        said = subprocess.run(["sinfo", "-h", "-o", "%t"], capture_output=True, text=True)
        if said.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    raise RuntimeError(f"SLURM did not start: {said}; see the logs in {folder}")
