"""`python -m workbench.grading FOLDER` builds the release of a course: what `make coursework` calls."""

import sys
from pathlib import Path

from workbench.grading.release import build_release

for path in build_release(Path(sys.argv[1])):
    print(path)
