"""The REST API of the embedded workspace, one module a service.

What lives here: handlers that turn a `Call` into the JSON the platform answers, and their routes.
Each service has `routes(...) -> list[Route]`. Errors are `ApiError`; one place gives them the
platform's shape.

What may not live here: process life, Spark, the execution of runs (they have their own rooms), and
any import of databricks.sdk: the wire is the contract, the SDK is only its reader.
"""
