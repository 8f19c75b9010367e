"""Calls from the gateway to Sail: raw bytes for pass-through, messages for its own statements."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import grpc

from lakeflow_job_meta.local.spark.sail import Sail

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import DataType, ExecutePlanRequest, ExecutePlanResponse, Plan, Relation

SERVICE = "spark.connect.SparkConnectService"
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
)

SailError = grpc.aio.AioRpcError
"""An answer of Sail that says no, or no answer."""

Metadata = Sequence[tuple[str, str | bytes]]


class Upstream:
    """One channel to Sail; starts Sail again when it has died.

    Args:
        sail: the child process, started or not.
    """

    def __init__(self, sail: Sail) -> None:
        self._sail = sail
        self._channel: grpc.aio.Channel | None = None
        self._address = ""
        self._starting = asyncio.Lock()
        self.epoch = 0
        """Grows when Sail was started anew: all its sessions are gone then."""

    async def channel(self) -> grpc.aio.Channel:
        """The channel to a Sail that is alive.

        Raises:
            LocalError: Sail does not start.
        """
        if self._channel is not None and self._sail.alive:
            return self._channel
        async with self._starting:
            if not self._sail.alive:
                await asyncio.to_thread(self._sail.start)
            if self._channel is None or self._address != self._sail.address:
                if self._channel is not None:
                    await self._channel.close()
                self._address = self._sail.address
                self._channel = grpc.aio.insecure_channel(self._address, options=OPTIONS)
                self.epoch += 1
            return self._channel

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()

    async def unary(self, method: str, request: bytes, metadata: Metadata = ()) -> bytes:
        """One request, one answer."""
        channel = await self.channel()
        answer: bytes = await channel.unary_unary(f"/{SERVICE}/{method}")(request, metadata=tuple(metadata))
        return answer

    async def stream(self, method: str, request: bytes, metadata: Metadata = ()) -> AsyncIterator[bytes]:
        """One request, a stream of answers."""
        channel = await self.channel()
        async for answer in channel.unary_stream(f"/{SERVICE}/{method}")(request, metadata=tuple(metadata)):
            yield answer

    async def upload(self, method: str, requests: AsyncIterator[bytes], metadata: Metadata = ()) -> bytes:
        """A stream of requests, one answer."""
        channel = await self.channel()
        answer: bytes = await channel.stream_unary(f"/{SERVICE}/{method}")(requests, metadata=tuple(metadata))
        return answer

    # ------------------------------------------------------------ statements of the gateway

    async def execute(self, request: ExecutePlanRequest) -> list[ExecutePlanResponse]:
        """Runs a plan to its end and returns all answers."""
        from pyspark.sql.connect.proto import ExecutePlanResponse

        data = request.SerializeToString()
        return [ExecutePlanResponse.FromString(answer) async for answer in self.stream("ExecutePlan", data)]

    async def command(self, user: str, session: str, sql: str) -> Relation:
        """Runs one SQL statement in a client's session and returns the relation of its result."""
        from pyspark.sql.connect.proto import Plan

        plan = Plan()
        plan.command.sql_command.input.sql.query = sql
        return result_of(await self.execute(self.request(user, session, plan)))

    def request(self, user: str, session: str, plan: Plan) -> ExecutePlanRequest:
        """A request of the gateway's own in a client's session."""
        from pyspark.sql.connect.proto import ExecutePlanRequest

        request = ExecutePlanRequest(session_id=session, plan=plan, operation_id=str(uuid.uuid4()))
        request.user_context.user_id = user
        return request

    async def schema(self, user: str, session: str, relation: Relation) -> DataType:
        """The schema of a relation, without running it."""
        from pyspark.sql.connect.proto import AnalyzePlanRequest, AnalyzePlanResponse

        request = AnalyzePlanRequest(session_id=session)
        request.user_context.user_id = user
        request.schema.plan.root.CopyFrom(relation)
        answer = await self.unary("AnalyzePlan", request.SerializeToString())
        return AnalyzePlanResponse.FromString(answer).schema.schema

    async def configure(self, user: str, session: str, pairs: dict[str, str]) -> None:
        """Sets configuration of a client's session."""
        from pyspark.sql.connect.proto import ConfigRequest

        request = ConfigRequest(session_id=session)
        request.user_context.user_id = user
        for key, value in pairs.items():
            request.operation.set.pairs.add(key=key, value=value)
        await self.unary("Config", request.SerializeToString())


def result_of(answers: Sequence[ExecutePlanResponse]) -> Relation:
    """The relation that a SQL statement resulted in; an empty relation for none."""
    from pyspark.sql.connect.proto import Relation

    for answer in answers:
        if answer.WhichOneof("response_type") == "sql_command_result":
            return answer.sql_command_result.relation
    return Relation()
