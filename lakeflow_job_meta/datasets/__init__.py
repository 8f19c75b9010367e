"""Datasets: a file becomes a Parquet version in a volume, a bronze and a silver table, and a status.

Here live the edge for people (`datasets`: the service; `reading`, `landing`, `query`, `badges`), what the
task `dataset_sync` does (`bronze`, `silver`, `record`), the rules of both (`naming`, `paths`, `types`,
`states`), and their tables (`tables`, `events`). Everything works on ports that are handed in: no adapter,
no SDK and no Spark is imported here, nothing plans or applies jobs, nothing prints, and no clock is read
but the one that is given. duckdb, pyarrow and openpyxl are imported by the functions that use them.
"""
