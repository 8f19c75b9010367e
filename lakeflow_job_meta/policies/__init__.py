"""Policies: SQL that finds what should not be there, and what is done about it.

Here live the two tasks `sql_policy` and `remediate`: a policy's SQL and what it may be (`statement`,
`definition`, the files in `shipped/`), its evaluation (`run`), the tables (`tables`, `violations`), exports
and views, and remediation of the violations that are open. Everything works on ports that are handed in.

What may not live here: adapters, an SDK, Spark, printing, a clock of its own. A policy only ever reads: its SQL
is one read-only SELECT, checked before anything runs; files are touched by remediation alone.
"""
