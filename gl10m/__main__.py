"""`python -m gl10m`: the command, wherever it is started from."""

import sys
from pathlib import Path

# `python -m` puts the working folder first on the path; a user may have a folder called `pipelines` there.
if sys.path and Path(sys.path[0]).resolve() == Path.cwd() != Path(__file__).resolve().parents[1]:
    del sys.path[0]

from gl10m.cli import main

sys.exit(main())
