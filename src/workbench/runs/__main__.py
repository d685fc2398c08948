"""`python -m workbench.runs NOTEBOOK …` executes notebooks and writes them back, to be committed (`make notebooks`)."""

import sys

from workbench.runs.committed import execute_committed

for argument in sys.argv[1:]:
    print(execute_committed(argument))
