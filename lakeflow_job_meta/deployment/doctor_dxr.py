"""Whether Data X-Ray can be reached: where the tasks of accepted modules say, or the environment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lakeflow_job_meta.dxr.settings import DxrSettings, resolve, token_of
from lakeflow_job_meta.errors import UsageError
from lakeflow_job_meta.ports import Secrets

#: Seconds to wait for an answer, and how often it is asked: somebody looks on.
PATIENCE = 10.0
ATTEMPTS = 2
_PLACE = ("base_url", "api_prefix", "verify_ssl", "ca_bundle", "secret_scope", "secret_key")


def reach(
    definitions: Iterable[Mapping[str, Any]], environment: Mapping[str, str], secrets: Callable[[], Secrets]
) -> str:
    """Ask every Data X-Ray that is named for its labels; returns what was found.

    Args:
        definitions: accepted definitions of modules (`ModuleDefinition.as_json`).

    Raises:
        DxrError: one does not answer, or refuses the token. UsageError: there is no token, or a setting is wrong.
    """
    places = [resolve(given, environment) for given in _given(definitions)]
    default = resolve({}, environment)
    if default["base_url"]:
        places.insert(0, default)
    urls: dict[str, DxrSettings] = {str(one["base_url"]): one for one in places if one["base_url"]}
    if not urls:
        if places:
            raise UsageError(
                "a module has Data X-Ray tasks, and neither it nor DXR_BASE_URL says where Data X-Ray is"
            )
        return "not used (no Data X-Ray task, DXR_BASE_URL is not set)"
    for settings in urls.values():
        _ask(settings, environment, secrets)
    return f"{', '.join(urls)} answered"


def _given(definitions: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the Data X-Ray sources say of the place, each once."""
    found: list[dict[str, Any]] = []
    for definition in definitions:
        for source in definition.get("sources") or ():
            if str(source.get("task_type") or "").startswith("dxr_"):
                settings = source.get("settings") or {}
                place = {name: settings[name] for name in _PLACE if settings.get(name) is not None}
                if place not in found:
                    found.append(place)
    return found


def _ask(settings: DxrSettings, environment: Mapping[str, str], secrets: Callable[[], Secrets]) -> None:
    from lakeflow_job_meta.dxr.client import DxrClient

    scope, key = settings["secret_scope"], settings["secret_key"]
    token = secrets().get(scope, key) if scope and key else token_of(environment)
    if not token:
        raise UsageError(
            f"there is no token for Data X-Ray at {settings['base_url']}: name its secret with secret_scope and secret_key, "
            "or set DXR_API_KEY"
        )
    with DxrClient(
        settings["base_url"],
        token,
        api_prefix=settings["api_prefix"],
        verify=(settings["ca_bundle"] or True) if settings["verify_ssl"] else False,
        timeout=PATIENCE,
        attempts=ATTEMPTS,
    ) as client:
        client.labels()
