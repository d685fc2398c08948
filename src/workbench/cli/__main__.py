"""`python -m workbench.cli`, for launchers such as torchrun."""

from workbench.cli import main

main()
