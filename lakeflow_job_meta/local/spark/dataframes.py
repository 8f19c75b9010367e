"""Writes of the DataFrame API: `df.write` and `df.writeTo`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from lakeflow_job_meta.local.spark import delta, plans
from lakeflow_job_meta.local.spark.errors import Refused, already_exists, table_not_found, unsupported
from lakeflow_job_meta.local.spark.literals import identifier
from lakeflow_job_meta.local.spark.registry import Relation as Entry
from lakeflow_job_meta.local.spark.statements import tables
from lakeflow_job_meta.local.spark.statements.statement import Statement
from lakeflow_job_meta.local.spark.told import Mention

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import Command

_EVOLVING = frozenset({"mergeschema", "overwriteschema"})


class Writes:
    """One write of a DataFrame.

    Args:
        statement: under which it runs.
    """

    def __init__(self, statement: Statement) -> None:
        self._statement = statement
        self._session = statement.session

    async def run(self, command: Command) -> None:
        """Runs the write, and records the table that it made.

        Raises:
            Refused: it cannot be done here.
            SailError: Sail said no.
        """
        if command.WhichOneof("command_type") == "write_operation_v2":
            await self._second(command)
        else:
            await self._first(command)

    async def _prepare(self, command: Command) -> None:
        await self._session.prepare(plans.localize(self._session, plans.parts(command)))

    async def _first(self, command: Command) -> None:
        from pyspark.sql.connect.proto import WriteOperation

        write = command.write_operation
        await self._prepare(command)
        if write.WhichOneof("save_type") != "table":
            if write.WhichOneof("save_type") == "path":
                write.path = self._session.registry.locations.volume(write.path) or write.path
            plans.localize_option(self._session, write.options)
            if _evolves(write.options):
                await tables.relax(self._session, write.input)
            await self._statement.run(command)
            return
        parts = plans.split_name(write.table.table_name)
        if write.table.save_method == WriteOperation.SaveTable.TABLE_SAVE_METHOD_INSERT_INTO:
            await self._insert(command, parts)
        else:
            await self._save(command, parts)

    async def _insert(self, command: Command, parts: tuple[str, ...]) -> None:
        await self._session.tell(parts)
        command.write_operation.table.table_name = identifier(*self._session.spelled(parts))
        await self._statement.run(command)

    async def _save(self, command: Command, parts: tuple[str, ...]) -> None:
        from pyspark.sql.connect.proto import WriteOperation

        write = command.write_operation
        session = self._session
        if write.source.lower() not in ("", "delta"):
            raise unsupported(f"tables in the format {write.source}", "use Delta, which is the default")
        write.source = "delta"
        name = session.full_name(parts)
        async with self._statement.locks.held(name):
            existing = tables.target(session.registry, name, replace=True, careful=False)
            write.table.table_name = identifier(*session.spelled(parts))
            path = _take(write.options, "path")
            if existing is not None:
                await session.prepare([Mention(parts, sure=True)])
                replacing = write.mode == WriteOperation.SAVE_MODE_OVERWRITE and _is_on(
                    write.options, "overwriteSchema"
                )
                if write.mode == WriteOperation.SAVE_MODE_IGNORE:
                    return
                if replacing:
                    await tables.save(self._statement, command, existing)
                    session.registry.put(existing)
                    session.told.made(parts)
                    return
                if _evolves(write.options):
                    await tables.relax(session, write.input)
                await self._statement.run(command)
                return
            await session.prepare([Mention(parts)])
            entry = self._new(name, path)
            with tables.undone(session.registry, entry, None):
                if write.mode in (WriteOperation.SAVE_MODE_UNSPECIFIED, WriteOperation.SAVE_MODE_IGNORE):
                    write.mode = WriteOperation.SAVE_MODE_ERROR_IF_EXISTS
                await tables.save(self._statement, command, entry)
            session.registry.put(entry)
            session.told.made(parts)

    def _new(self, name: tuple[str, str, str], path: str | None) -> Entry:
        locations = self._session.registry.locations
        if path is None:
            return Entry(*name, location=locations.table(*name))
        return Entry(*name, location=locations.external(path), managed=False)

    async def _second(self, command: Command) -> None:
        from pyspark.sql.connect.proto import Command, WriteOperation, WriteOperationV2

        write = command.write_operation_v2
        parts = plans.split_name(write.table_name)
        creating = write.mode in (WriteOperationV2.MODE_CREATE, WriteOperationV2.MODE_CREATE_OR_REPLACE)
        if not creating and write.mode != WriteOperationV2.MODE_REPLACE:
            await self._session.tell(parts)
            await self._prepare(command)
            write.table_name = identifier(*self._session.spelled(parts))
            await self._statement.run(command)
            return
        name = self._session.full_name(parts)
        known = self._session.registry.get(*name) is not None
        if write.mode == WriteOperationV2.MODE_REPLACE and not known:
            raise table_not_found(*name)
        first = Command()
        old = first.write_operation
        old.input.CopyFrom(write.input)
        old.source = write.provider
        old.table.table_name = write.table_name
        old.table.save_method = WriteOperation.SaveTable.TABLE_SAVE_METHOD_SAVE_AS_TABLE
        old.mode = WriteOperation.SAVE_MODE_ERROR_IF_EXISTS
        if write.mode != WriteOperationV2.MODE_CREATE and known:
            old.mode = WriteOperation.SAVE_MODE_OVERWRITE
            old.options["overwriteSchema"] = "true"
        elif known:
            raise already_exists(*name)
        old.partitioning_columns.extend(_column(expression) for expression in write.partitioning_columns)
        old.options.update(write.options)
        properties = tables.checked_properties(dict(write.table_properties))
        await self._first(first)
        entry = self._session.registry.get(*name)
        if properties and entry is not None:
            await asyncio.to_thread(
                delta.change_metadata,
                entry.table_location(),
                "SET TBLPROPERTIES",
                lambda metadata: metadata["configuration"].update(properties),
            )


def _take(options: Any, name: str) -> str | None:
    for key in list(options):
        if key.lower() == name:
            value: str = options[key]
            del options[key]
            return value
    return None


def _is_on(options: Any, name: str) -> bool:
    return any(key.lower() == name.lower() and options[key].lower() == "true" for key in options)


def _evolves(options: Any) -> bool:
    return any(_is_on(options, name) for name in _EVOLVING)


def _column(expression: Any) -> str:
    if expression.WhichOneof("expr_type") != "unresolved_attribute":
        raise unsupported("partition transforms", "partition by columns")
    parts = plans.split_name(expression.unresolved_attribute.unparsed_identifier)
    if len(parts) != 1:
        raise Refused("partition by a column, not by a field of one")
    return parts[0]
