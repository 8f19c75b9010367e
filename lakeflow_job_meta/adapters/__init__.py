"""Adapters: the ports, implemented over databricks-sdk, Spark, SQL warehouses and files.

The only place beside `local` where a foreign library talks to the outside, and the place where its errors
become ours, by type or status, chained. No decision about jobs or metadata may live here, and only
`runtime` may pick an adapter. Heavy libraries are imported inside the modules that use them.
"""
