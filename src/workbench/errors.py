"""The mistakes a caller may want to catch, each with the command line's exit code.

Everything else is a plain ValueError or TypeError. Messages say what came, what is allowed and what to do.
"""


class WorkbenchError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line ends with."""

    exit_code = 2


class UnknownName(WorkbenchError, ValueError):
    """A checkpoint, task, language, template or protocol that does not exist."""


class BadInput(WorkbenchError, ValueError):
    """A prompt, parameter, file or setting that cannot be used as it is."""


class NotebookFailed(WorkbenchError):
    """A cell of a notebook raised."""

    exit_code = 1


class ResultsDiffer(WorkbenchError):
    """Results are not those that were expected."""

    exit_code = 3


class NotReachable(WorkbenchError):
    """Weights or answers that are neither in the store nor on this machine, and no network to get them.

    `missing` holds the prompts that lack an answer, where it is answers that were asked for.
    """

    exit_code = 5

    def __init__(self, message: str, missing: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing


class Incomplete(WorkbenchError):
    """A notebook that ended before its last cell."""

    exit_code = 6


class StoreFailed(WorkbenchError):
    """The store or the disk failed: damaged, read-only, full, or not a store at all."""

    exit_code = 7


class KernelDied(WorkbenchError):
    """The process behind a notebook was killed."""

    exit_code = 138
