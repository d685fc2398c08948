"""Reading of a mixture: a local folder, or a data set of the hub, becomes a pool to draw from."""

import re
from collections.abc import Mapping, Sequence

from huggingface_hub import HfApi
from huggingface_hub.errors import (
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from workbench.errors import BadInput, NotReachable
from workbench.paths import expanded
from workbench.training.mixtures.drawing import Pool, make_pool
from workbench.training.mixtures.files import LAYOUT, find_files
from workbench.training.mixtures.local import Local
from workbench.training.mixtures.streamed import Streamed

_SECONDS_FOR_A_SIGN_OF_LIFE = 5.0


def read(
    data: str,
    *,
    languages: Sequence[str] | None = None,
    names: str = "*",
    weights: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Pool:
    """Read a mixture from a local folder in xP3's layout, or from a data set of the hub such as "bigscience/xP3".

    Args:
        languages: Languages to draw from; all by default.
        names: A pattern for the files' names.
        weights: How often each language is drawn, in any unit; by default in proportion to its lines (streamed: to
            its bytes; in xP3 English has 39.9 % of the samples and 39.3 % of the bytes).
        seed: Of the draws.

    Raises:
        UnknownName: a language that is not there.
        BadInput: neither a folder nor `owner/name`, or no files in this layout.
        NotReachable: the hub cannot be reached, or has no such data set.
    """
    if expanded(data).is_dir():
        files = find_files(str(expanded(data).resolve()), languages, names)
        return make_pool(Local(files, seed), weights, seed)
    if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", data):
        raise BadInput(
            f"{data!r} is neither a folder nor a data set of the hub; give {LAYOUT}, or owner/name"
        )
    return read_streamed(_pinned(data), languages=languages, names=names, weights=weights, seed=seed)


def read_streamed(
    root: str,
    *,
    languages: Sequence[str] | None = None,
    names: str = "*",
    weights: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Pool:
    """Read a mixture sequentially, from an address (`hf://datasets/<owner>/<name>@<commit>`) or a folder.

    Malformed lines are reported when they are drawn. A resumed training rereads what was drawn before (see `streamed`).
    """
    files = find_files(root, languages, names)
    for file in files:
        if "::" in file.name:
            raise BadInput(
                f"{file.path} cannot be streamed: in an address `::` means a file within a file; rename it"
            )
    return make_pool(Streamed(files, seed), weights, seed)


def _pinned(hub_id: str) -> str:
    """Return the address of a data set at its current head commit, after checking that the hub responds."""
    try:
        facts = HfApi().dataset_info(hub_id, timeout=_SECONDS_FOR_A_SIGN_OF_LIFE)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise NotReachable(
            f"the data set {hub_id!r} does not exist on the hub or needs permission: {error}"
        ) from error
    except (HTTPError, OfflineModeIsEnabled) as error:
        raise NotReachable(
            f"{hub_id!r} is not a folder on this machine and the hub cannot be reached; copy the data into a folder on a machine "
            f"with a network (`hf download {hub_id} --repo-type dataset --local-dir FOLDER`)"
        ) from error
    return f"hf://datasets/{hub_id}@{facts.sha}"
