"""A plain Sail server in a process of its own: prints its port, ends with standard input."""

from __future__ import annotations

import os
import sys

SETTINGS = {
    "SAIL_CATALOG__LIST": '[{name="main",type="memory",initial_database=["default"]}]',
    "SAIL_CATALOG__DEFAULT_CATALOG": "main",
    "SAIL_SPARK__SESSION_TIMEOUT_SECS": "604800",
    "RUST_LOG": "error",
}

if __name__ == "__main__":
    os.environ.update(SETTINGS)
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    print(server.listening_address[1], flush=True)
    sys.stdin.read()
