"""Job runs: the engine that really executes tasks, and the runs part of the Jobs API.

What lives here: runs and their records (`store`, `states`, `views`), the graph of a run
(`execution`, `dependencies`), one module a kind of task (`sql`, `python`, `notebook`, `control`), child processes
(`processes`), their Python environments (`environments`), `{{...}}` references (`references`), what
starts runs by itself (`triggers`, `schedule`), the routes (`api`), and `task_process/`, the program
that runs inside a child process.

What may not live here: saved jobs (they are the workspace's, `local.state`), Spark itself, and any
import of databricks.sdk or pyspark by the engine. `task_process/` imports nothing of this package:
it runs in environments where this package is not installed.
"""
