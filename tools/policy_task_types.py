"""`lakeflow_job_meta/metadata/policy_task_types.json`, from the settings of the policies' tasks.

The room `metadata` may not import `policies`, so what it must know of the settings is handed down as data.
"""

from __future__ import annotations

import json


def text() -> str:
    """What the file must hold."""
    from lakeflow_job_meta.policies import remediation_settings, settings

    types = {
        "sql_policy": {
            "summary": "Runs SQL policies over files, and records what is new, still there and resolved.",
            "keys": dict(settings.KEYS),
        },
        "remediate": {
            "summary": "Plans, and on demand carries out, what is done about a policy's open violations.",
            "keys": dict(remediation_settings.KEYS),
        },
    }
    return json.dumps(types, indent=1, ensure_ascii=False) + "\n"
