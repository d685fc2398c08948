"""The documentation site (`make docs`): the guides, the executed notebooks, and the public names from their docstrings."""

import workbench

project = "workbench"
author = "The workbench authors"
version = release = workbench.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["notebooks/figures", "notebooks/README.md", "notebooks/.ipynb_checkpoints"]
html_theme = "furo"
html_title = "workbench"
nb_execution_mode = (
    "off"  # the committed notebooks are executed, and verified, by `make notebooks` and `make verify`
)
myst_heading_anchors = 3
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
