"""Options and services of the `dataset` commands: the shared ones, and the settings of datasets as flags."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from lakeflow_job_meta.cli.options import (
    Given,
    control_table_option,
    format_option,
    local_option,
    profile_option,
    warehouse_option,
)
from lakeflow_job_meta.datasets.settings import SETTINGS, DatasetSetting

if TYPE_CHECKING:
    from lakeflow_job_meta.dataset_manager import DatasetManager

_SHARED = ("control_table", "local", "warehouse_id", "profile", "json")


def _setting(one: DatasetSetting) -> Callable[[Any], Any]:
    setting = one.setting
    flag = "--" + setting.name.replace("_", "-")
    about: dict[str, Any] = {"default": None, "help": f"{setting.doc} [{', '.join(one.environment)}]"}
    if setting.kind == "boolean":
        return click.option(f"{flag}/--no-{flag[2:]}", setting.name, **about)
    if setting.choices:
        return click.option(flag, setting.name, type=click.Choice(setting.choices), **about)
    number = setting.kind == "integer"
    return click.option(
        flag, setting.name, type=int if number else str, metavar="N" if number else "TEXT", **about
    )


#: Settings that every command needs to find the datasets; the others are for those that write.
PLACES = ("tenant", "landing", "schema")


def dataset_command(*settings: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The shared options, and these settings; the function gets `manager` (made when used) and `given`."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            given = Given(**{name: options.pop(name) for name in _SHARED})
            flags = {name: options.pop(name) for name in settings if name != "tenant"}
            if "tenant" in settings:
                flags["tenant"] = options["tenant"]
            with _manager(given, flags) as manager:
                return function(*arguments, manager=manager, given=given, **options)

        call = format_option(local_option(control_table_option(warehouse_option(profile_option(call)))))
        for one in reversed(SETTINGS):
            if one.name in settings:
                call = _setting(one)(call)
        return call

    return decorate


@contextmanager
def _manager(given: Given, flags: dict[str, Any]) -> Iterator[DatasetManager]:
    from lakeflow_job_meta.cli.session import PATIENCE, Session
    from lakeflow_job_meta.datasets.settings import resolve

    # Entering an embedded workspace takes the DATABRICKS_* variables out of the environment.
    environment = dict(os.environ)
    resolve(flags, environment)  # a wrong one is told before anything is started
    assert given.table
    with ExitStack() as opened:
        session = Session(given, opened, create=True, patience=PATIENCE)
        runtime = session.runtime
        from lakeflow_job_meta.dataset_manager import DatasetManager

        yield DatasetManager(given.table, settings=flags, environment=environment, runtime=runtime)
