"""Spark of the embedded workspace: Sail behind a gateway that makes it one shared workspace.

What lives here: the Sail child process (`sail`), the catalog of schemas, tables and views that
outlives every session (`registry`), the gRPC pass-through that prepares each Spark Connect session
from it and records what statements create and drop (`gateway`, `context`, `plans`), the
statements that Databricks has and Sail lacks (`rewrite` and its parts), and a SQL session for the
server's own use (`session`).

What may not live here: REST handlers, runs, and anything that knows jobs or control tables. The
only things of `local` that this package imports are `folder` and `state`.
"""
