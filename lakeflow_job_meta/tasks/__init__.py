"""Tasks: what small tasks of our own do inside a run (`sql_script`, `notify`).

What lives here: one module a task type, each with `run(context: TaskContext) -> summary`. It sees
ports (`tables`, `volumes`, `spark`), never an adapter, and raises TaskError with a sentence for the
person who reads the run's page.

What may not live here: reading the control table or the accepted definition (`task` does that),
anything about jobs, printing.
"""
