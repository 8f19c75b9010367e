"""The program that runs one notebook, Python file or wheel inside a child process.

What lives here: reading the order from standard input (`program`), the objects that Databricks puts
into every task (`session`, `dbutils`, `filesystem`), `/Volumes` and `/Workspace` paths (`paths`), and
notebooks (`notebook`, `source`).

What may not live here: imports of any other package of this project, not even of `lakeflow_job_meta`
itself. A task runs in an environment where this package need not be installed, or is installed in
another version; the engine starts this folder by its path, as the top-level package `task_process`.
Hence the relative imports.
"""
