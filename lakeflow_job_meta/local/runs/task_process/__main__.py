"""Entry point: `python <this folder>`; the order is one line of JSON on standard input."""

import importlib
import os
import sys

if __name__ == "__main__":
    # Executed by path, the folder itself is sys.path[0]: its modules would hide others of the same name.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    program = importlib.import_module("task_process.program")
    sys.path.pop(0)
    sys.exit(program.main())
