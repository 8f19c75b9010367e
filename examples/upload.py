"""Puts the examples' notebook and SQL files where metadata_examples.yaml looks for them.

Works with any workspace that the Databricks SDK can reach: DATABRICKS_HOST and DATABRICKS_TOKEN, or a profile.
"""

from pathlib import Path

from databricks.sdk import WorkspaceClient
from databricks.sdk.service.workspace import ImportFormat

TARGET = "/Workspace/Shared/lakeflow_job_meta/examples"

workspace = WorkspaceClient()
here = Path(__file__).parent
for path in sorted(here.glob("*_task/*")):
    target = f"{TARGET}/{path.parent.name}/{path.name}"
    workspace.workspace.mkdirs(f"{TARGET}/{path.parent.name}")
    with path.open("rb") as file:
        if path.suffix == ".ipynb":  # a notebook has no suffix in the workspace
            workspace.workspace.upload(
                target.removesuffix(".ipynb"), file, format=ImportFormat.JUPYTER, overwrite=True
            )
        else:
            workspace.workspace.upload(target, file, format=ImportFormat.AUTO, overwrite=True)
    print(target)
