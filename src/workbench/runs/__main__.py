"""`python -m workbench.runs NOTEBOOK …` executes notebooks in place, ready to be committed (`make notebooks`)."""

import sys

from workbench.runs.committed import execute_committed

for argument in sys.argv[1:]:
    print(execute_committed(argument))
