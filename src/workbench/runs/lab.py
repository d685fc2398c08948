"""An extension of Jupyter's server, for `make lab`: the kernel of the notebook that opens first starts with the server.

While the browser still loads JupyterLab, that kernel imports what the playground needs, which takes most of the time to a first
answer; it computes nothing. JupyterLab finds the kernel by the notebook's path. Known gap: a browser that is there within half a
second starts a kernel of its own.
"""

from pathlib import PurePosixPath
from typing import Any

IMPORTS = "import workbench.playground, workbench.engines.transformers.engine"
_OPENS = "/lab/tree/"


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server: Any) -> None:
    path = notebook_of(str(server.config.LabApp.get("default_url", "")))
    if path:
        server.io_loop.add_callback(begin, server, path)


def notebook_of(url: str) -> str:
    """Return the path of the notebook that JupyterLab opens at an address; empty if it opens none."""
    path = url.partition(_OPENS)[2]
    return path if path.endswith(".ipynb") else ""


async def begin(server: Any, path: str) -> None:
    """Start a notebook's kernel and have it import; an import that fails is repeated, and shown, by the notebook's own cell."""
    name = PurePosixPath(path).name
    session = await server.session_manager.create_session(path=path, name=name, type="notebook")
    client = server.kernel_manager.get_kernel(session["kernel"]["id"]).client()
    client.start_channels()
    await client.wait_for_ready()
    client.execute(IMPORTS, silent=True, store_history=False)
    client.stop_channels()
