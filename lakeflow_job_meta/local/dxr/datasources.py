"""The datasources that exist: four On-Demand Classifiers, as section 2.5 of the contract prepares them."""

from __future__ import annotations

from lakeflow_job_meta.local.dxr.answers import Json
from lakeflow_job_meta.local.dxr.rules import stable_uuid

DATASOURCES = (200, 201, 202, 203)
CONNECTOR = "ON_DEMAND_CLASSIFIER"
CONNECTOR_TYPE_ID = 21


def datasource_uuid(datasource_id: int) -> str:
    """The id under which the public API knows a datasource."""
    return stable_uuid("datasource", str(datasource_id))


def datasource_name(datasource_id: int) -> str:
    return f"On-demand classifier {datasource_id}"


def datasource_json(datasource_id: int) -> Json:
    """A datasource of the internal API."""
    return {
        "id": datasource_id,
        "uuid": datasource_uuid(datasource_id),
        "name": datasource_name(datasource_id),
        "status": "ENABLED",
        "datasourceConnectorTypeId": CONNECTOR_TYPE_ID,
        "datasourceConnectorTypeName": CONNECTOR,
        "settingsProfile": {"id": 1},
    }
