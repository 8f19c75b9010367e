"""Data X-Ray: what the tasks `dxr_ingest`, `dxr_collect`, `dxr_organise` and `dxr_snapshot` do.

Here live the HTTP client (`client`, on `transport`, `multipart`, `responses`), the tables (`tables`,
`ledger`), the settings, and one module or more a task. Everything works on ports that are handed in: no
adapter, no SDK and no Spark is imported here, and nothing here prints or reads a clock of its own.
"""
