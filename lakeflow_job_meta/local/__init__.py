"""The embedded workspace: one detached process per folder that stands in for Databricks.

What lives here: the HTTP server that speaks the product's part of the Databricks REST API to the
real databricks-sdk (`server`, `api/`), its state (`folder`, `state`), the Spark Connect gateway in
front of Sail (`spark/`), the engine that really runs tasks (`runs/`), faults for tests (`faults`)
and the life of the process (`process`). It is a development and test tool, bound to loopback.

What may not live here: anything that the product needs in the cloud. Nothing below this room may
import it, and it imports only `errors` and `names` of this package.
"""
