"""Errors that a caller may want to catch, each with the command line's exit code.

All others are plain ValueError or TypeError. A message states what was given, what is allowed and what to do.

Exit codes of the command line: 0 success; 1 a notebook raised; 2 wrong usage, name, file or parameter; 3 results differ;
4 the environment differs (`--strict-env`), or the weights are not those of a finished run; 5 weights or answers are not
reachable; 6 a notebook ended early; 7 the store or the disk failed; 70 an internal error, with its traceback in a file;
124 time limit; 130 interrupted; 138 a kernel died; 141 the reader of the output closed it (`| head`). An error is one
sentence on stderr, with `--json` too, and nothing on stdout.
"""

OUR_FAULT = 70
INTERRUPTED = 130
OUTPUT_CLOSED = 141


class WorkbenchError(Exception):
    """Base of all errors raised on purpose; `exit_code` is the exit status of the command line."""

    exit_code = 2


class UnknownName(WorkbenchError, ValueError):
    """The name of a checkpoint, task, language, template, protocol, engine or dtype that does not exist."""


class BadInput(WorkbenchError, ValueError):
    """A prompt, parameter, file or setting that is invalid."""


class NotebookFailed(WorkbenchError):
    """A cell of a notebook raised."""

    exit_code = 1


class ResultsDiffer(WorkbenchError):
    """Results differ from the expected ones."""

    exit_code = 3


class StaleRun(WorkbenchError):
    """A finished run used other weights than those that its models' names stand for now."""

    exit_code = 4


class NotReachable(WorkbenchError):
    """Weights or answers are neither in the store nor on this machine, and cannot be downloaded.

    `missing` holds the prompts without an answer, if answers were requested.
    """

    exit_code = 5

    def __init__(self, message: str, missing: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing


class ServiceFailed(NotReachable):
    """The model service or the process of a model ended, or the service cannot serve the request."""


class Incomplete(WorkbenchError):
    """A notebook that ended before its last cell."""

    exit_code = 6


class StoreFailed(WorkbenchError):
    """The store or the disk failed: damaged, read-only, full, or not a store at all."""

    exit_code = 7


class KernelDied(WorkbenchError):
    """The process behind a notebook was killed."""

    exit_code = 138
