"""Refusals of the gateway, as Spark Connect clients know errors."""

from __future__ import annotations

import json

from lakeflow_job_meta.errors import LocalError

ANALYSIS = "org.apache.spark.sql.AnalysisException"
UNSUPPORTED = "java.lang.UnsupportedOperationException"
PARSE = "org.apache.spark.sql.catalyst.parser.ParseException"


class Refused(LocalError):
    """A statement that the gateway refuses; nothing was changed.

    Args:
        message: what is wrong and what to do; the condition is put in front.
        condition: Spark's error condition (`TABLE_OR_VIEW_NOT_FOUND`), empty when there is none.
        java_class: the exception class that clients map to theirs.
        sql_state: five characters.
    """

    def __init__(
        self, message: str, *, condition: str = "", java_class: str = ANALYSIS, sql_state: str = ""
    ) -> None:
        self.condition = condition
        self.java_class = java_class
        self.sql_state = sql_state
        super().__init__(f"[{condition}] {message}" if condition else message)

    def details(self) -> bytes:
        """The google.rpc.Status that travels as `grpc-status-details-bin`."""
        from google.protobuf.any_pb2 import Any
        from google.rpc.error_details_pb2 import ErrorInfo  # type: ignore[import-untyped]
        from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

        metadata = {"classes": json.dumps([self.java_class])}
        if self.condition:
            metadata |= {"errorClass": self.condition, "messageParameters": "{}"}
        if self.sql_state:
            metadata["sqlState"] = self.sql_state
        info = Any()
        info.Pack(ErrorInfo(reason=self.java_class, domain="org.apache.spark", metadata=metadata))
        status: bytes = Status(code=13, message=str(self), details=[info]).SerializeToString()
        return status


def unsupported(what: str, instead: str) -> Refused:
    """A statement or option that the embedded workspace does not have."""
    return Refused(
        f"the embedded workspace does not support {what}; {instead}",
        condition="UNSUPPORTED_FEATURE",
        java_class=UNSUPPORTED,
        sql_state="0A000",
    )


def table_not_found(*name: str) -> Refused:
    return Refused(
        f"The table or view `{'`.`'.join(name)}` cannot be found. Verify the spelling and the catalog and schema.",
        condition="TABLE_OR_VIEW_NOT_FOUND",
        sql_state="42P01",
    )


def schema_not_found(*name: str) -> Refused:
    return Refused(
        f"The schema `{'`.`'.join(name)}` cannot be found. Verify the spelling and the catalog, or create it.",
        condition="SCHEMA_NOT_FOUND",
        sql_state="42704",
    )


def catalog_not_found(name: str) -> Refused:
    return Refused(
        f"The catalog `{name}` cannot be found. The catalogs of an embedded workspace are set when it starts.",
        condition="NO_SUCH_CATALOG_EXCEPTION",
        sql_state="42704",
    )


def already_exists(*name: str) -> Refused:
    return Refused(
        f"Cannot create table or view `{'`.`'.join(name)}` because it already exists. "
        "Choose another name, drop it, or say IF NOT EXISTS or OR REPLACE.",
        condition="TABLE_OR_VIEW_ALREADY_EXISTS",
        sql_state="42P07",
    )
