"""The Data X-Ray simulator in a process of its own: prints where it is, as JSON, and ends with SIGTERM.

`python dxr_simulator.py FOLDER KNOBS.json`
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

if __name__ == "__main__":
    from lakeflow_job_meta.local.dxr.serving import serve

    serve(
        0,
        folder=Path(sys.argv[1]),
        faults=Path(sys.argv[2]),
        on_ready=lambda variables: print(json.dumps(variables), flush=True),
    )
