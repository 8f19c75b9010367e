"""Runs the Data X-Ray commands from a Git folder, without a wheel: for a script task.

Parameters are those of `lakeflow-job-meta dxr`: `snapshot DXR_QUERY 'size > 0'`, `run-once --since 7d`, ...
"""

import sys
from pathlib import Path

try:
    here = Path(__file__)
except NameError:  # a script task of a notebook-like runtime
    here = Path(sys.argv[0])
sys.path.insert(0, str(here.resolve().parents[2]))

from lakeflow_job_meta.dxr.__main__ import main

main()
