"""The process that the processes of models are forked from: torch and the engine are imported once, for all of them.

On its standard input, a socket, it gets the ends of the pipes of a new process, and reports each process that it started and how
it ended, as a line of JSON: `[pid, null]`, then `[pid, status]`. It ends when the socket is closed.
"""

import gc
import json
import os
import signal
import socket
from importlib import import_module
from select import select

from workbench.service import child


def main() -> None:
    """Fork processes until the socket is closed; the caller's interrupts are its own business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import_module("workbench.engines.transformers.engine")  # late: it imports torch
    import_module("transformers.models.auto.tokenization_auto")
    gc.freeze()  # else the first collection in a child would copy the pages that it shares
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    service = socket.socket(fileno=0)
    while True:
        ready, _, _ = select([service.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _report_ended(service)
        if service.fileno() in ready:
            message, descriptors, _, _ = socket.recv_fds(service, 1, 2)
            if not message:
                return
            if (pid := os.fork()) == 0:
                _become_child(service, *descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            _report(service, pid, None)


def _report_ended(service: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _report(service, pid, os.waitstatus_to_exitcode(status))


def _report(service: socket.socket, pid: int, code: int | None) -> None:
    try:
        service.sendall(json.dumps([pid, code]).encode() + b"\n")
    except OSError:  # the service has ended; so do the processes, with their inputs
        os._exit(0)


def _become_child(service: socket.socket, stdin: int, stdout: int) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    service.detach()
    os.dup2(stdin, 0)
    os.dup2(stdout, 1)
    os.close(stdin)
    os.close(stdout)
    child.main()
    os._exit(0)


if __name__ == "__main__":
    main()
