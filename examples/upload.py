"""Puts the examples' notebooks, SQL and Python files where their metadata looks for them.

Works with any workspace that the Databricks SDK can reach: DATABRICKS_HOST and DATABRICKS_TOKEN, or a profile.
"""

from pathlib import Path

from databricks.sdk import WorkspaceClient
from databricks.sdk.service.workspace import ImportFormat

TARGET = "/Workspace/Shared/lakeflow_job_meta/examples"

workspace = WorkspaceClient()
here = Path(__file__).parent
for path in sorted(path for path in here.glob("*/*") if path.suffix in {".ipynb", ".sql", ".py"}):
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
