"""The Spark Connect endpoint of the workspace: a pass-through in front of Sail.

Responses go through as bytes. Requests are read only where they can change or mention the
workspace's tables: plans are prepared (`context`), statements that are the gateway's are answered
here (`rewrite`). It runs in one asyncio event loop of its own thread.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from lakeflow_job_meta.errors import LocalError
from lakeflow_job_meta.local.spark import answers, plans, rewrite
from lakeflow_job_meta.local.spark.context import Session
from lakeflow_job_meta.local.spark.dataframes import Writes
from lakeflow_job_meta.local.spark.errors import Refused, unsupported
from lakeflow_job_meta.local.spark.literals import bind, literal
from lakeflow_job_meta.local.spark.registry import Registry
from lakeflow_job_meta.local.spark.sail import SESSION_SECONDS
from lakeflow_job_meta.local.spark.statements.statement import Locks, Statement
from lakeflow_job_meta.local.spark.statements.views import reads
from lakeflow_job_meta.local.spark.told import Mention
from lakeflow_job_meta.local.spark.upstream import OPTIONS, SERVICE, Metadata, SailError, Upstream

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import ExecutePlanRequest, ExecutePlanResponse, Plan, Relation

TOKEN_KEY = "x-lakeflow-token"  # the name of the metadata, not a token

log = logging.getLogger(__name__)

_UNARY = ("ArtifactStatus", "Interrupt", "ReleaseExecute", "FetchErrorDetails", "GetStatus")
_IDLE_SECONDS = SESSION_SECONDS - 3600
"""Sail forgets a session later than this, so a session that we know is one that Sail knows."""

Context = Any
Servicer = Callable[[bytes, Context], Awaitable[bytes]]


class Gateway:
    """The gRPC service.

    Args:
        token: what clients must send as the metadata `x-lakeflow-token`.
        touched: called at every call, for the idle shutdown.
    """

    def __init__(
        self, registry: Registry, upstream: Upstream, token: str, touched: Callable[[], None] = lambda: None
    ) -> None:
        self._registry = registry
        self._upstream = upstream
        self._token = token.encode()
        self._touched = touched
        self._sessions: dict[tuple[str, str], Session] = {}
        self._locks = Locks()
        self._background: set[asyncio.Task[Any]] = set()

    def server(self) -> grpc.aio.Server:
        """The server with this service, not yet listening."""
        # Otherwise two gateways could share a port, and clients would meet one or the other.
        server = grpc.aio.server(options=(*OPTIONS, ("grpc.so_reuseport", 0)))
        handlers: dict[str, Any] = {
            "ExecutePlan": grpc.unary_stream_rpc_method_handler(self._execute_plan),
            "AnalyzePlan": grpc.unary_unary_rpc_method_handler(self._analyze_plan),
            "Config": grpc.unary_unary_rpc_method_handler(self._config),
            "AddArtifacts": grpc.stream_unary_rpc_method_handler(self._add_artifacts),
            "ReattachExecute": grpc.unary_stream_rpc_method_handler(self._reattach),
            "ReleaseSession": grpc.unary_unary_rpc_method_handler(self._release_session),
            "CloneSession": grpc.unary_unary_rpc_method_handler(self._clone_session),
        }
        handlers |= {name: grpc.unary_unary_rpc_method_handler(self._pass_through(name)) for name in _UNARY}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        return server

    # ------------------------------------------------------------ methods

    async def _execute_plan(self, data: bytes, context: Context) -> AsyncIterator[bytes]:
        from pyspark.sql.connect.proto import ExecutePlanRequest

        async with self._call(context) as metadata:
            request = ExecutePlanRequest.FromString(data)
            session = await self._session(request.user_context.user_id, request.session_id)
            result = await self._answered(session, request)
            if result is not None:
                for response in result:
                    yield response.SerializeToString()
                return
            async for answer in self._upstream.stream("ExecutePlan", request.SerializeToString(), metadata):
                yield answer

    async def _answered(
        self, session: Session, request: ExecutePlanRequest
    ) -> list[ExecutePlanResponse] | None:
        """The whole answer to a plan that the gateway runs; None for one that is ready for Sail.

        A statement that was begun is ended and recorded even if the client goes away meanwhile.
        """
        if request.plan.WhichOneof("op_type") == "compressed_operation":
            # With this condition clients send it again as it is.
            raise Refused("compressed plans are not read here", condition="CONNECT_INVALID_PLAN.CANNOT_PARSE")
        command = request.plan.command
        kind = command.WhichOneof("command_type") if request.plan.HasField("command") else None
        work: Awaitable[Relation | None]
        if kind == "sql_command":
            sql = command.sql_command
            if sql.input.HasField("with_relations"):
                await self._define_references(session, sql.input)
            text = sql.input.sql.query if sql.HasField("input") else sql.sql
            if not rewrite.is_query(text):
                work = self._statement(session, request)
            else:
                await session.prepare(plans.localize(session, plans.parts(request.plan)))
                return None
        elif kind in ("write_operation", "write_operation_v2"):
            writes = Writes(Statement(session, "", request, self._locks))
            work = writes.run(command)
        elif kind == "create_dataframe_view":
            await self._define(session, request.plan)
            return answers.responses(session.id, request.operation_id, None)
        else:
            if kind == "write_stream_operation_start":
                raise unsupported("structured streaming", "write a batch: df.write.saveAsTable")
            await self._prepare_plan(session, request.plan, may_change=True)
            return None
        operation = request.operation_id
        task = asyncio.ensure_future(self._finish(session, operation, work, command=kind != "sql_command"))
        self._keep(session, operation, task)
        return await asyncio.shield(task)

    async def _finish(
        self, session: Session, operation: str, work: Awaitable[Relation | None], *, command: bool
    ) -> list[ExecutePlanResponse]:
        result = await work
        return answers.responses(session.id, operation, None if command else result)

    def _keep(self, session: Session, operation: str, task: asyncio.Task[Any]) -> None:
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        # Its failure is given to the client that waits; a client that is gone needs none.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        if operation:
            while len(session.operations) >= 64:
                session.operations.pop(next(iter(session.operations)))
            session.operations[operation] = task

    async def _statement(self, session: Session, request: ExecutePlanRequest) -> Relation | None:
        """Runs a SQL statement that is no query; its parameters become literals first."""
        sql_command = request.plan.command.sql_command
        source = sql_command.input.sql if sql_command.HasField("input") else sql_command
        text = source.query if sql_command.HasField("input") else source.sql
        named = {key: literal(value) for key, value in source.named_arguments.items()}
        positional = [literal(value) for value in source.pos_arguments]
        if source.args or source.pos_args:
            from pyspark.sql.connect.proto import Expression

            named |= {key: literal(Expression(literal=value)) for key, value in source.args.items()}
            positional += [literal(Expression(literal=value)) for value in source.pos_args]
        if named or positional:
            text = bind(text, named, positional)
        statement = Statement(session, text, request, self._locks)
        result = await rewrite.answer(statement)
        return result if result is not None else await statement.forward(text)

    async def _define(self, session: Session, plan: Plan, *, hidden: bool = False) -> None:
        """Makes the temporary view of a `create_dataframe_view`.

        Args:
            hidden: it is none of the client's own.
        """
        view = plan.command.create_dataframe_view
        if view.is_global:
            raise unsupported(
                "global temporary views", "use createOrReplaceTempView, or a view of the catalog"
            )
        if session.is_temporary((view.name,)) and view.replace:
            found = plans.parts(plan)
            if any(reads(mention, view.name) for mention in plans.mentions(session, found)):
                plans.rename(found, view.name, session.told.hide_temporary(view.name))
        mentions = await self._prepare_plan(session, plan, may_change=True)
        await session.run(plan)
        kept = type(plan).FromString(plan.SerializeToString())
        kept.command.create_dataframe_view.replace = True
        session.told.keep_temporary(view.name, mentions, plan=kept, hidden=hidden)

    async def _define_references(self, session: Session, source: Relation) -> None:
        """Makes the frames of `spark.sql("... {df}", df=df)` temporary views, which any statement can read."""
        from pyspark.sql.connect.proto import Plan

        for reference in source.with_relations.references:
            alias = reference.subquery_alias
            if not alias.alias:
                raise unsupported(
                    "a statement with a relation that has no name", "name it in the call of sql()"
                )
            plan = Plan()
            plan.command.create_dataframe_view.input.CopyFrom(alias.input)
            plan.command.create_dataframe_view.name = alias.alias
            plan.command.create_dataframe_view.replace = True
            await self._define(session, plan, hidden=True)
        root = type(source).FromString(source.with_relations.root.SerializeToString())
        source.CopyFrom(root)

    async def _prepare_plan(self, session: Session, plan: Any, *, may_change: bool) -> list[Mention]:
        """Brings the session to where Sail can run the plan, and answers its SHOW, DESCRIBE and catalog
        parts; returns what is mentioned.
        """
        found = plans.parts(plan)
        for relation in found.catalogs:
            answer = await plans.answer_catalog(session, relation.catalog)
            if answer is not None:
                relation.CopyFrom(answer)
        queries = []
        for relation in found.queries:
            text = relation.sql.query
            if rewrite.is_query(text):
                queries.append(relation)
                continue
            if not may_change and not rewrite.is_reading(text):
                raise unsupported("analyzing a statement that changes something", "run it instead")
            statement = Statement(session, text, self._own_request(session), self._locks)
            answer = await rewrite.answer(statement)
            if answer is None:
                queries.append(relation)
            else:
                relation.CopyFrom(answer)
        found.queries = queries
        mentions = plans.localize(session, found)
        await session.prepare(mentions)
        return mentions

    def _own_request(self, session: Session) -> ExecutePlanRequest:
        from pyspark.sql.connect.proto import Plan

        return self._upstream.request(session.user, session.id, Plan())

    async def _analyze_plan(self, data: bytes, context: Context) -> bytes:
        from pyspark.sql.connect.proto import AnalyzePlanRequest

        async with self._call(context) as metadata:
            request = AnalyzePlanRequest.FromString(data)
            session = await self._session(request.user_context.user_id, request.session_id)
            await self._prepare_plan(session, request, may_change=False)
            return await self._upstream.unary("AnalyzePlan", request.SerializeToString(), metadata)

    async def _config(self, data: bytes, context: Context) -> bytes:
        from pyspark.sql.connect.proto import ConfigRequest

        async with self._call(context) as metadata:
            request = ConfigRequest.FromString(data)
            await self._session(request.user_context.user_id, request.session_id)
            return await self._upstream.unary("Config", data, metadata)

    async def _add_artifacts(self, requests: AsyncIterator[bytes], context: Context) -> bytes:
        async with self._call(context) as metadata:
            return await self._upstream.upload("AddArtifacts", requests, metadata)

    async def _reattach(self, data: bytes, context: Context) -> AsyncIterator[bytes]:
        from pyspark.sql.connect.proto import ReattachExecuteRequest

        async with self._call(context) as metadata:
            request = ReattachExecuteRequest.FromString(data)
            session = await self._session(request.user_context.user_id, request.session_id)
            task = session.operations.get(request.operation_id)
            if task is None:
                async for answer in self._upstream.stream("ReattachExecute", data, metadata):
                    yield answer
                return
            responses = await asyncio.shield(task)
            seen = [response.response_id for response in responses]
            last = request.last_response_id
            for response in responses[seen.index(last) + 1 if last in seen else 0 :]:
                yield response.SerializeToString()

    async def _release_session(self, data: bytes, context: Context) -> bytes:
        from pyspark.sql.connect.proto import ReleaseSessionRequest

        async with self._call(context) as metadata:
            request = ReleaseSessionRequest.FromString(data)
            self._sessions.pop((request.user_context.user_id, request.session_id), None)
            return await self._upstream.unary("ReleaseSession", data, metadata)

    async def _clone_session(self, data: bytes, context: Context) -> bytes:
        async with self._call(context):
            raise unsupported("cloning a Spark session", "make a new one")

    def _pass_through(self, method: str) -> Servicer:
        async def call(data: bytes, context: Context) -> bytes:
            async with self._call(context) as metadata:
                return await self._upstream.unary(method, data, metadata)

        return call

    # ------------------------------------------------------------ inside

    @asynccontextmanager
    async def _call(self, context: Context) -> AsyncIterator[Metadata]:
        """One call of a client, whose metadata for Sail it gives; whatever breaks it is told to the client."""
        metadata = await self._admit(context)
        try:
            yield metadata
        except (LocalError, SailError) as error:
            await _fail(context, error)
        except grpc.aio.AbortError:
            raise
        except (
            Exception
        ) as error:  # the outermost boundary: gRPC would only say that something was unexpected
            log.exception("a call broke")
            await _fail(
                context,
                Refused(f"the workspace's Spark broke ({type(error).__name__}: {error}); its log says where"),
            )

    async def _admit(self, context: Context) -> Metadata:
        """Lets a client with the right token in; returns what goes on to Sail.

        Raises:
            grpc.aio.AbortError: no token, or another one.
        """
        self._touched()
        given = ""
        passed: list[tuple[str, str | bytes]] = []
        for key, value in context.invocation_metadata() or ():
            if key == TOKEN_KEY:
                given = value if isinstance(value, str) else value.decode("utf-8", "replace")
            elif not key.startswith(("grpc-", "user-agent")):
                passed.append((key, value))
        if not hmac.compare_digest(given.encode(), self._token):
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED,
                f"the Spark of an embedded workspace needs its token: connect with sc://...;{TOKEN_KEY}=TOKEN, "
                "as `lakeflow-job-meta local env` prints it",
            )
        return passed

    async def _session(self, user: str, id: str) -> Session:
        key = user, id
        session = self._sessions.get(key)
        now = time.monotonic()
        if session is None or now - session.last_used > _IDLE_SECONDS:
            self._sessions = {k: s for k, s in self._sessions.items() if now - s.last_used <= _IDLE_SECONDS}
            session = self._sessions[key] = Session(user, id, self._registry, self._upstream)
        await session.start()
        return session


async def _fail(context: Context, error: LocalError | SailError) -> NoReturn:
    """Ends a call as Spark Connect does: Sail's errors as they came, ours in the same form."""
    if isinstance(error, SailError) and error.code() == grpc.StatusCode.UNAVAILABLE:
        # Clients would take UNAVAILABLE for their own connection, and ask for a statement that is gone.
        error = Refused(
            "Sail ended while it ran the statement (out of memory?); it is started again: look what was done"
        )
    if isinstance(error, SailError):
        trailing: Iterable[tuple[str, str | bytes]] = error.trailing_metadata() or ()
        kept = tuple((key, value) for key, value in trailing if key.startswith("grpc-status-details"))
        await context.abort(error.code(), error.details() or "", kept)
    if not isinstance(error, Refused):
        error = Refused(str(error))
    await context.abort(grpc.StatusCode.INTERNAL, str(error), (("grpc-status-details-bin", error.details()),))
    raise AssertionError("abort() raises")
