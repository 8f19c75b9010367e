"""The SQL Warehouses API: the one warehouse `local`, always there."""

from __future__ import annotations

from starlette.routing import Route

from lakeflow_job_meta.local.api.call import USER, Call, Json, route
from lakeflow_job_meta.local.api.errors import ApiError, missing

WAREHOUSE_ID = "local"


class WarehousesApi:
    """Handlers of `/api/2.0/sql/warehouses`."""

    def __init__(self) -> None:
        self._state = "RUNNING"

    def routes(self) -> list[Route]:
        path = "/api/2.0/sql/warehouses"
        return [
            route("GET", path, self.list_warehouses),
            route("POST", path, self.create),
            route("GET", path + "/{id}", self.get),
            route("POST", path + "/{id}/start", self.start),
            route("POST", path + "/{id}/stop", self.stop),
        ]

    def list_warehouses(self, call: Call) -> Json:
        return {"warehouses": [self._describe()]}

    def get(self, call: Call) -> Json:
        require_warehouse(call.path["id"])
        return self._describe()

    def start(self, call: Call) -> Json:
        require_warehouse(call.path["id"])
        self._state = "RUNNING"
        return {}

    def stop(self, call: Call) -> Json:
        """Stopping is only shown: a statement starts the warehouse again, as on the platform."""
        require_warehouse(call.path["id"])
        self._state = "STOPPED"
        return {}

    def used(self) -> None:
        """A statement came: the warehouse runs."""
        self._state = "RUNNING"

    def create(self, call: Call) -> Json:
        raise ApiError(
            400, "INVALID_PARAMETER_VALUE", "The embedded workspace has one warehouse, with the id 'local'."
        )

    def _describe(self) -> Json:
        return {
            "id": WAREHOUSE_ID,
            "name": "local",
            "cluster_size": "2X-Small",
            "min_num_clusters": 1,
            "max_num_clusters": 1,
            "num_clusters": 1 if self._state == "RUNNING" else 0,
            "num_active_sessions": 0,
            "auto_stop_mins": 0,
            "enable_photon": False,
            "enable_serverless_compute": True,
            "warehouse_type": "PRO",
            "spot_instance_policy": "COST_OPTIMIZED",
            "creator_name": USER,
            "state": self._state,
            "health": {"status": "HEALTHY"},
        }


def require_warehouse(warehouse_id: str) -> None:
    """Raises ApiError 404 for any id but `local`."""
    if warehouse_id != WAREHOUSE_ID:
        raise missing(f"SQL warehouse {warehouse_id} does not exist; the embedded workspace has 'local'.")
