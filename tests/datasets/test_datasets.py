"""The service on a real engine: uploads, switches, statuses, versions, tenants."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from lakeflow_job_meta.adapters.fuse_volumes import FuseVolumes
from lakeflow_job_meta.control.control_table import ControlTable
from lakeflow_job_meta.control.events import Events as ControlEvents
from lakeflow_job_meta.control.records import Event
from lakeflow_job_meta.datasets import control_rows, naming
from lakeflow_job_meta.datasets.datasets import DatasetService
from lakeflow_job_meta.datasets.diagnosis import diagnose
from lakeflow_job_meta.datasets.events import Events
from lakeflow_job_meta.datasets.model import Status
from lakeflow_job_meta.datasets.removal import delete, orphans
from lakeflow_job_meta.datasets.settings import resolve
from lakeflow_job_meta.errors import DatasetError, DatasetNotFound, TablesError, Unavailable, VolumeError
from lakeflow_job_meta.metadata.rows import JOB_ROW, Row
from lakeflow_job_meta.names import TableName

pytest.importorskip("duckdb")
Make = Callable[..., DatasetService]
Write = Callable[[str, str], Path]
RECORDS = [
    {"order_id": "1001", "amount": 450.00, "date": "2025-01-15"},
    {"order_id": "1002", "amount": 820.50, "date": "2025-01-16"},
]
STATUS_KEYS = [
    "dataset_id",
    "dataset_name",
    "databricks_enabled",
    "sync_status",
    "bronze_table",
    "silver_table",
    "last_sync_at",
    "last_sync_error",
    "row_count_local",
    "row_count_databricks",
]


START = datetime(2025, 11, 6, 14, 30, tzinfo=timezone.utc)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Through:
    """`ports.Tables` that asks `first` before each call: it may raise, do something, or answer instead.

    Args:
        first: gets the method's name and the text of its first argument; None: the real call is made.
    """

    def __init__(self, tables: Any, first: Callable[[str, str], Any]) -> None:
        self._tables = tables
        self._first = first

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._tables, name)
        if not callable(real):
            return real

        def call(*arguments: Any, **more: Any) -> Any:
            what = str(getattr(arguments[0], "name", arguments[0])) if arguments else ""
            instead = self._first(name, what)
            return real(*arguments, **more) if instead is None else instead

        return call


@pytest.fixture
def make_service(tables: Any, control_name: TableName, tmp_path: Path, clock: Clock) -> Make:
    """Makes a service with these settings (environment variables by `environment`), its files in a folder.

    `first` is asked before each call of the tables; see `Through`.
    """

    def make(
        environment: dict[str, str] | None = None,
        first: Callable[[str, str], Any] | None = None,
        **settings: Any,
    ) -> DatasetService:
        volumes = FuseVolumes(tmp_path / "Volumes")
        through: Any = tables if first is None else Through(tables, first)
        return DatasetService(
            control_name, through, volumes, resolve(settings, environment or {}), clock=clock
        )

    return make


@pytest.fixture
def service(make_service: Make) -> DatasetService:
    return make_service()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file of this text and returns its path."""

    def call(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        return path

    return call


def rows_of(service: DatasetService, tenant: str = "default") -> list[Row]:
    return [row for row in service.rows(tenant) if row.source_id != JOB_ROW]


def advance(service: DatasetService, dataset_id: str, *events: tuple[Status, dict[str, Any]]) -> None:
    """What the job's tasks would write down."""
    dataset = service.registry.find(dataset_id)
    row = service.row(dataset)
    for status, more in events:
        assert service.events.append([service.event(dataset, status, row, **more)])


def landed(tmp_path: Path) -> list[str]:
    root = tmp_path / "Volumes"
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


# ------------------------------------------------------------ uploads


def test_a5_landed_names_are_ours(service: DatasetService, write: Write, tmp_path: Path) -> None:
    """The client's name is kept for people only; two uploads of one name and two of records share no path."""
    odd = write('up/x".csv', "a,b\n1,2\n")
    uploads = [
        service.ingest(f"{odd.parent}/../up/{odd.name}", name="One"),
        service.ingest(write("data.csv", "a,b\n1,2\n"), name="Two"),
        service.ingest(write("more/data.csv", "a,b\n3,4\n"), name="Three"),
        service.ingest(RECORDS, name="Four"),
        service.ingest(RECORDS, name="Five"),
    ]
    paths = [one.dataset.path for one in uploads]
    assert len(set(paths)) == 5
    for one in uploads:
        assert one.dataset.path.endswith(f"/datasets/default/{one.dataset.dataset_id}/1.parquet")
    assert uploads[0].dataset.file_name == 'x".csv'
    assert len(landed(tmp_path)) == 5


def test_a2_nothing_is_left_of_an_upload_that_fails(
    service: DatasetService, make_service: Make, write: Write, tmp_path: Path
) -> None:
    """Neither a file that cannot be taken nor a table that cannot be written leaves a file behind."""
    with pytest.raises(DatasetError, match=r"h\.csv"):
        service.ingest(write("h.csv", "a,b\n"), name="X")

    def stopped(method: str, what: str) -> None:
        if method == "append" and what == str(service.names.registry):
            raise TablesError("the warehouse is stopped")

    with pytest.raises(TablesError, match="the warehouse is stopped"):
        make_service(first=stopped).ingest(RECORDS, name="X")
    assert landed(tmp_path) == []
    assert service.all() == []


def test_a4_refused_files_leave_no_row_and_no_event(
    service: DatasetService, write: Write, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=r"doc\.pdf is a PDF"):
        service.ingest(write("doc.pdf", "%PDF-1.4"), name="X")
    with pytest.raises(DatasetError, match="no name"):
        service.ingest(RECORDS, name="a\x00b")
    with pytest.raises(DatasetError, match="not there"):
        service.ingest(tmp_path / "nothing.csv", name="X")
    assert service.all() == []
    assert service.events.latest() == {}


def test_a4_strict_takes_all_rows_or_none(service: DatasetService, write: Write, tmp_path: Path) -> None:
    file = write("a.csv", "a,b\n1,2\n3\n")
    with pytest.raises(DatasetError, match="line 3"):
        service.ingest(file, name="X", strict=True)
    assert landed(tmp_path) == []


def test_a6_a_csv_is_queried_with_types(service: DatasetService, write: Write) -> None:
    """Numbers can be summed at once, by the silver table's rules; the landed text is there, too."""
    text = (
        "Order ID,code,amount,day,seen_at,ok,mixed\n1,007, 1.5 ,2025-01-15,2025-01-15T10:00:00+02:00,TRUE,1\n"
    )
    text += "2,010,NaN,2025-02-28,2025-01-15 10:00,false,x\n"
    dataset = service.ingest(write("a.csv", text), name="X").dataset
    found = service.query(
        dataset.dataset_id, 'SELECT "Order ID" + 1, code, amount, day, seen_at, ok, mixed FROM dataset'
    )
    assert found.rows == (
        (2, "007", 1.5, "2025-01-15", "2025-01-15T08:00:00Z", True, "1"),
        (3, "010", None, "2025-02-28", "2025-01-15T10:00:00Z", False, "x"),
    )
    raw = service.query(dataset.dataset_id, "SELECT amount FROM landed")
    assert raw.rows == ((" 1.5 ",), ("NaN",))


def test_a10_preview(service: DatasetService) -> None:
    """Sample values of a column that needs quoting; one without any value does no harm."""
    records = [{"Order ID": 3, "none": None, 'q"': "b"}, {"Order ID": 1, "none": None, 'q"': "a"}]
    dataset = service.ingest(records, name="X").dataset
    found = service.preview(dataset.dataset_id)
    order, none, quoted = found["columns"]
    assert (order["name"], order["dtype"], order["sample_values"]) == ("Order ID", "bigint", [1, 3])
    assert (order["min"], order["max"], order["avg"], order["nulls"]) == (1, 3, 2.0, 0)
    assert (none["sample_values"], none["min"], none["nulls"]) == ([], None, 2)
    assert quoted["sample_values"] == ["a", "b"]
    assert (found["row_count"], found["sample_rows"]) == (2, records)


def test_a11_upload_and_query_are_quick(service: DatasetService, write: Write) -> None:
    """10,000 rows in 2 seconds and queries in 100 ms are the targets; ten times as much is a defect."""
    text = "id,name,amount\n" + "".join(
        f"{number},name {number},{number / 7:.2f}\n" for number in range(10_000)
    )
    file = write("big.csv", text)
    service.ingest(RECORDS, name="warm up")
    started = time.perf_counter()
    dataset = service.ingest(file, name="Big").dataset
    upload = time.perf_counter() - started
    times = []
    for _ in range(5):
        started = time.perf_counter()
        service.landing.fetch(dataset)
        service.query(dataset.dataset_id, "SELECT count(*), max(amount) FROM dataset")
        times.append(time.perf_counter() - started)
    print(f"upload of 10,000 rows: {upload:.2f} s; query: {sorted(times)[2] * 1000:.0f} ms")
    assert upload < 20
    assert sorted(times)[2] < 2


def test_g5_reply_of_an_upload(service: DatasetService) -> None:
    """The seed's reply: id, name, rows, file, and where the sync stands."""
    reply = service.ingest(RECORDS, name="Revenue Q1 2025", description="Quarterly").as_json()
    json.dumps(reply, allow_nan=False)
    assert reply["name"] == "Revenue Q1 2025"
    assert reply["row_count"] == 2
    assert reply["file_name"] == f"{reply['id']}/1.parquet"
    assert reply["metadata"]["databricks_enabled"] is True
    assert reply["metadata"]["sync_status"] == "pending"
    assert reply["sample_rows"] == RECORDS


def test_g3_status_has_the_keys_of_the_seed(service: DatasetService) -> None:
    """Exactly ten keys, UTC with Z; an unknown dataset and another tenant's are not found."""
    dataset = service.ingest(RECORDS, name="Revenue Q1 2025", tenant="xyz").dataset
    tables = {
        "bronze_table": "catalog_tenant_xyz.bronze.revenue_q1_2025",
        "silver_table": "catalog_tenant_xyz.silver.revenue_q1_2025_clean",
    }
    advance(
        service,
        dataset.dataset_id,
        (Status.SYNCING, {"run_id": "7"}),
        (Status.SYNCED, {"run_id": "7", **tables, "row_count_bronze": 2, "row_count_silver": 2}),
    )
    assert service.status(dataset.dataset_id, "xyz").as_json() == dict(
        zip(
            STATUS_KEYS,
            [
                dataset.dataset_id,
                "Revenue Q1 2025",
                True,
                "synced",
                *tables.values(),
                "2025-11-06T14:30:00Z",
                None,
                2,
                2,
            ],
            strict=True,
        )
    )
    for dataset_id, tenant in (("unknown", None), (dataset.dataset_id, "other")):
        with pytest.raises(DatasetNotFound):
            service.status(dataset_id, tenant)


# ------------------------------------------------------------ switches


def test_b3_master_switch_off(make_service: Make, control_name: Any, tables: Any) -> None:
    """No row, no event, no job to be made: the upload works and says not_synced."""
    service = make_service({"DATABRICKS_SYNC_ENABLED": "false"})
    found = service.ingest(RECORDS, name="X")
    assert found.as_json()["metadata"]["sync_status"] == "not_synced"
    assert found.as_json()["metadata"]["databricks_enabled"] is False
    assert not ControlTable(tables, control_name).exists()
    assert service.events.history(found.dataset.dataset_id) == []
    with pytest.raises(DatasetError, match="switched off for all"):
        service.ask(found.dataset)
    assert service.events.history(found.dataset.dataset_id) == []


def test_b4_auto_sync_off_and_asked_by_hand(make_service: Make) -> None:
    """An upload stays local; asking by hand works even then."""
    service = make_service({"DATABRICKS_AUTO_SYNC": "false"})
    dataset = service.ingest(RECORDS, name="X").dataset
    assert service.status(dataset.dataset_id).status is Status.NOT_SYNCED
    assert rows_of(service) == []
    service.ask(dataset)
    assert service.status(dataset.dataset_id).status is Status.PENDING
    assert len(rows_of(service)) == 1


def test_b5_a_disabled_row_is_refused_with_the_reason(service: DatasetService) -> None:
    """Asked by hand, a dataset that is switched off says so, and no event is written."""
    found = service.ingest(RECORDS, name="X", config={"sync": {"enabled": False}})
    assert "switched off" in found.note
    assert found.status.status is Status.NOT_SYNCED
    dataset = service.ingest(RECORDS, name="Y").dataset
    row = service.row(dataset)
    assert row is not None
    config = control_rows.merged(control_rows.config(row.transformation_config), {"sync": {"enabled": False}})
    service.write_rows([Row(**{**_fields(row), "transformation_config": json.dumps(config)})])
    before = service.events.history(dataset.dataset_id)
    with pytest.raises(DatasetError, match=r"sync\.enabled"):
        service.ask(dataset)
    assert service.events.history(dataset.dataset_id) == before
    assert service.status(dataset.dataset_id).enabled is False


def _fields(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__slots__}


def test_b2_upload_is_not_failed_by_the_sync(make_service: Make, control_name: TableName) -> None:
    """The control table cannot be written: the upload stands and can be read, and says what was wrong."""

    def no_right(method: str, what: str) -> None:
        if method == "merge" and what == str(control_name):
            raise TablesError("no right to write main.etl.control")

    found = make_service(first=no_right).ingest(RECORDS, name="X")
    assert "no right to write" in found.as_json()["note"]
    again = make_service()
    status = again.status(found.dataset.dataset_id)
    assert status.status is Status.FAILED
    assert status.as_json()["last_sync_error"] == "no right to write main.etl.control"
    assert again.query(found.dataset.dataset_id, "SELECT count(*) FROM dataset").rows == ((2,),)


def test_b2_a_start_that_fails_is_kept(make_service: Make) -> None:
    """The error of a start is read again by another service."""
    service = make_service()
    asked = service.ask(service.ingest(RECORDS, name="X").dataset)
    service.record_failure(asked, TablesError("the workspace does not answer"))
    status = make_service().status(asked.dataset.dataset_id)
    assert status.status is Status.FAILED
    assert status.as_json()["last_sync_error"] == "the workspace does not answer"


def test_b7_asking_twice_asks_once(service: DatasetService) -> None:
    dataset = service.ingest(RECORDS, name="X").dataset
    first, second = service.ask(dataset), service.ask(dataset)
    assert first.round == second.round
    assert len(service.events.history(dataset.dataset_id)) == 1
    job = control_rows.config(
        next(row for row in service.rows("default") if row.source_id == JOB_ROW).transformation_config
    )
    assert job["max_concurrent_runs"] == 1
    assert job["queue"] == {"enabled": True}


def test_f10_more_rows_than_the_limit_are_not_synced(make_service: Make) -> None:
    """Above `row_limit` the dataset stays local and says why."""
    found = make_service(row_limit=1).ingest(RECORDS, name="X")
    assert "more than its row_limit of 1" in found.note
    assert found.status.status is Status.NOT_SYNCED


# ------------------------------------------------------------ rows, versions, tenants


def test_row_of_a_dataset(service: DatasetService) -> None:
    """What the job is made from: facts in source_config, the tables in target_config."""
    dataset = service.ingest(RECORDS, name="Revenue Q1 2025", tenant="xyz").dataset
    [row] = rows_of(service, "xyz")
    assert row.module_name == "datasets_xyz"
    assert row.source_id == f"ds_{dataset.dataset_id[:8]}_revenue_q1_2025"
    assert (row.source_type, row.execution_order) == ("dataset", 1)
    assert control_rows.config(row.source_config)["path"] == dataset.path
    targets = control_rows.targets_of(row)
    assert str(targets.silver) == "catalog_tenant_xyz.silver.revenue_q1_2025_clean"


def test_e3_names_that_collide(service: DatasetService) -> None:
    """Two datasets whose names become one get two tables."""
    first = service.ingest(RECORDS, name="Sales 2025").dataset
    second = service.ingest(RECORDS, name="sales-2025").dataset
    assert first.dataset_id != second.dataset_id
    tables = {str(control_rows.targets_of(row).bronze) for row in rows_of(service)}
    assert len(tables) == 2
    assert "catalog_tenant_default.bronze.sales_2025" in tables


def blind(*tables: Any) -> Callable[[str, str], Any]:
    """For `Through`: the first look at each of these tables sees no row, as when another writes at the same time."""
    left = [table.quoted for table in tables]

    def first(method: str, what: str) -> Any:
        hit = next((name for name in left if method == "query" and f"FROM {name}" in what), None)
        if hit is None:
            return None
        left.remove(hit)
        return []

    return first


@pytest.mark.parametrize("higher", [True, False])
def test_e3_two_uploads_at_once(
    service: DatasetService, make_service: Make, control_name: TableName, higher: bool
) -> None:
    """Neither sees the other's row before it writes its own: still two tables, whichever id is the higher one."""
    first = service.ingest(RECORDS, name="Sales 2025").dataset
    later = next(
        name
        for name in (f"sales-2025{'!' * number}" for number in range(100))
        if (naming.dataset_id_of(str(control_name), "default", name) > first.dataset_id) is higher
    )
    second = make_service(first=blind(control_name)).ingest(RECORDS, name=later).dataset
    tables = [control_rows.config(row.target_config)["table"] for row in rows_of(service)]
    assert sorted(tables) == ["sales_2025", f"sales_2025_{second.dataset_id[:6]}"]


def test_b4_what_is_configured_is_kept_though_nothing_is_asked_for(
    service: DatasetService, make_service: Make
) -> None:
    """Auto sync off, for the dataset or for all: its row has the configuration, and waits to be asked for."""
    silver = {"silver": {"dedupe": "none"}}
    for made, config in (
        (service, {**silver, "sync": {"auto": False}}),
        (make_service(auto_sync=False), silver),
    ):
        found = made.ingest(RECORDS, name=f"X{len(config)}", config=config)
        assert (found.note, found.status.status) == ("", Status.NOT_SYNCED)
        row = service.ask(found.dataset).row
        kept = control_rows.config(row.transformation_config)
        assert (kept["silver"]["dedupe"], kept["sync"]["auto"]) == ("none", False)
        assert service.status(found.dataset.dataset_id).status is Status.PENDING


def test_j1_first_uploads_of_one_name_at_once_are_versions(
    service: DatasetService, make_service: Make
) -> None:
    """Neither finds a dataset of that name: one dataset with two versions comes of it, none lost, one row."""
    one = service.ingest(RECORDS, name="X").dataset
    two = make_service(first=blind(service.names.registry)).ingest(RECORDS[:1], name="X").dataset
    assert (two.dataset_id, one.version, two.version) == (one.dataset_id, 1, 2)
    assert [version.row_count_local for version in service.versions(one.dataset_id)] == [2, 1]
    assert len(rows_of(service)) == 1


def test_j1_who_writes_its_row_last_does_not_undo_a_newer_version(
    service: DatasetService, make_service: Make, control_name: TableName
) -> None:
    """While one upload is about to write its row, another is made from end to end: the row names the newer one."""
    met: list[str] = []

    def meanwhile(method: str, what: str) -> None:
        if method == "merge" and what == str(control_name) and not met:
            met.append(what)
            service.ingest(RECORDS[:1], name="X")

    slow = make_service(first=meanwhile).ingest(RECORDS, name="X")
    assert (met, slow.dataset.version) == ([str(control_name)], 1)
    [row] = rows_of(service)
    facts = control_rows.config(row.source_config)
    assert (facts["version"], facts["row_count"]) == (2, 1)
    assert service.events.latest()[slow.dataset.dataset_id].version == 2


def test_j1_a_name_that_was_deleted_is_another_dataset(service: DatasetService) -> None:
    """Its versions begin anew, and the deleted one's file stays what it was."""
    first = service.ingest(RECORDS, name="X").dataset
    delete(service, first.dataset_id)
    second = service.ingest(RECORDS[:1], name="X").dataset
    assert second.dataset_id != first.dataset_id
    assert (second.version, second.path != first.path) == (1, True)


def test_e5_the_tenant_that_is_set_binds(service: DatasetService, make_service: Make) -> None:
    """Where the environment or a setting names the tenant, another's dataset is not there for any question."""
    victim = service.ingest(RECORDS, name="HR", tenant="victim").dataset
    for bound in (
        make_service({"LAKEFLOW_JOB_META_DATASET_TENANT": "attacker"}),
        make_service(tenant="attacker"),
    ):
        for ask in (bound.status, bound.versions, bound.preview):
            with pytest.raises(DatasetNotFound):
                ask(victim.dataset_id)
        with pytest.raises(DatasetNotFound):
            bound.query(victim.dataset_id, "SELECT * FROM dataset")
        with pytest.raises(DatasetNotFound):
            delete(bound, victim.dataset_id)
        assert bound.all() == []
    assert make_service(tenant="victim").status(victim.dataset_id).dataset.path == victim.path


def test_e5_tenants_are_apart(service: DatasetService, tmp_path: Path) -> None:
    """Another tenant's dataset is not found; a registry that names its file is refused; ids cannot be one."""
    victim = service.ingest(RECORDS, name="HR", tenant="victim").dataset
    own = service.ingest(RECORDS, name="HR", tenant="attacker").dataset
    assert own.dataset_id != victim.dataset_id
    with pytest.raises(DatasetNotFound):
        service.query(victim.dataset_id, "SELECT 1", tenant="attacker")
    assert [one.dataset.dataset_id for one in service.all("attacker")] == [own.dataset_id]
    table = service.registry.definition
    service.tables.merge(
        table,
        [{"dataset_id": own.dataset_id, "version": 1, "path": victim.path, "sha256": victim.sha256}],
        keys=("dataset_id", "version"),
    )
    with pytest.raises(DatasetError, match="outside"):
        service.query(own.dataset_id, "SELECT * FROM dataset")
    with pytest.raises(DatasetError, match="would have the catalog of tenant"):
        service.ingest(RECORDS, name="X", tenant="Victim")


def test_h1_checksum_is_recorded_and_checked(service: DatasetService, tmp_path: Path) -> None:
    """A landed file that is another one by now is not queried."""
    dataset = service.ingest(RECORDS, name="X").dataset
    assert len(dataset.sha256) == 64
    [name] = landed(tmp_path)
    (tmp_path / "Volumes" / name).write_bytes(b"PAR1 something else")
    with pytest.raises(DatasetError, match="not the file that was landed"):
        service.query(dataset.dataset_id, "SELECT 1")


def test_h6_a_file_that_is_gone_says_what_to_do(service: DatasetService, tmp_path: Path) -> None:
    dataset = service.ingest(RECORDS, name="X").dataset
    (tmp_path / "Volumes" / landed(tmp_path)[0]).unlink()
    with pytest.raises(VolumeError, match="no such file"):
        service.query(dataset.dataset_id, "SELECT 1")
    assert "no such file" in service.landing.is_there(dataset)


def test_j1_a_second_upload_is_a_new_version(service: DatasetService, clock: Any) -> None:
    """The same name and tenant: same dataset, same tables, history kept; by id under any name."""
    first = service.ingest(RECORDS, name="X").dataset
    before = control_rows.targets_of(rows_of(service)[0])
    clock.move(minutes=1)
    second = service.ingest([*RECORDS, RECORDS[0]], name="X").dataset
    third = service.ingest(RECORDS[:1], name="Y", dataset_id=first.dataset_id).dataset
    assert (second.dataset_id, second.version) == (first.dataset_id, 2)
    assert (third.dataset_id, third.version, third.name) == (first.dataset_id, 3, "X")
    [row] = rows_of(service)
    assert control_rows.config(row.source_config)["version"] == 3
    assert control_rows.targets_of(row) == before
    assert [one.row_count_local for one in service.versions(first.dataset_id)] == [2, 3, 1]
    assert service.query(first.dataset_id, "SELECT count(*) FROM dataset").rows == ((1,),)
    assert service.query(first.dataset_id, "SELECT count(*) FROM dataset", version=2).rows == ((3,),)
    assert len(service.all()) == 1


def test_j1_a_version_that_was_not_asked_for(service: DatasetService, make_service: Make) -> None:
    """Uploaded while auto sync is off, it is not synced, though the version before it is; its tables are told."""
    dataset = synced(service)
    make_service(auto_sync=False).ingest(RECORDS, name="X")
    status = service.status(dataset.dataset_id).as_json()
    assert status["sync_status"] == "not_synced"
    assert status["bronze_table"] is not None


def test_a6_a_file_of_a_volume(service: DatasetService, tmp_path: Path) -> None:
    """A file that lies in a volume is taken from there."""
    path = tmp_path / "Volumes" / "main" / "inbox" / "files" / "a.csv"
    path.parent.mkdir(parents=True)
    path.write_text("a,b\n1,2\n")
    dataset = service.ingest("/Volumes/main/inbox/files/a.csv", name="X").dataset
    assert (dataset.row_count_local, dataset.file_name) == (1, "a.csv")


def test_j1_versions_of_two_at_once_are_two(service: DatasetService, make_service: Make) -> None:
    """Somebody else's version of the same number keeps its file; ours gets the next one."""
    first = service.ingest(RECORDS, name="X").dataset
    taken = first.path.replace("/1.parquet", "/2.parquet")
    with service.landing.local(first.path) as file:
        assert service.landing.store(taken, file, first.sha256)
    assert service.ingest(RECORDS, name="X").dataset.version == 3


def test_hand_edits_of_a_row_stay(service: DatasetService) -> None:
    """What was changed in the control table by hand outlives a new version."""
    service.ingest(RECORDS, name="X")
    [row] = rows_of(service)
    config = control_rows.merged(
        control_rows.config(row.transformation_config), {"silver": {"dedupe": "none"}}
    )
    service.write_rows([Row(**{**_fields(row), "transformation_config": json.dumps(config)})])
    service.ingest(RECORDS, name="X")
    [row] = rows_of(service)
    assert control_rows.config(row.transformation_config)["silver"]["dedupe"] == "none"


def test_j4_a_module_is_split_before_it_is_too_large(service: DatasetService) -> None:
    """Fifty datasets are one module; one more than a job can hold opens a second."""
    rows = [
        Row(f"s{number}", "datasets_default", control_rows.SOURCE_TYPE, 1)
        for number in range(control_rows.PER_MODULE)
    ]
    assert control_rows.module_for(rows[:50], "default") == "datasets_default"
    assert control_rows.module_for(rows, "default") == "datasets_default_2"


def test_j8_jobs_are_tagged_by_tenant(service: DatasetService) -> None:
    service.ingest(RECORDS, name="X", tenant="ACME GmbH")
    job = next(row for row in service.rows("ACME GmbH") if row.source_id == JOB_ROW)
    assert control_rows.config(job.transformation_config)["tags"] == {
        "dataset_sync": "true",
        "tenant": "acme_gmbh",
    }


# ------------------------------------------------------------ the end


def synced(service: DatasetService, name: str = "X", tenant: str = "default") -> Any:
    """A dataset that is synced, its two tables there."""
    dataset = service.ingest(RECORDS, name=name, tenant=tenant).dataset
    catalog, schema = service.control_table.catalog, service.control_table.schema
    names = {"bronze_table": f"{catalog}.{schema}.b", "silver_table": f"{catalog}.{schema}.s"}
    for table in names.values():
        service.tables.query(f"CREATE TABLE {table} (a INT) USING delta")
    advance(
        service,
        dataset.dataset_id,
        (Status.SYNCING, {"run_id": "1"}),
        (Status.SYNCED, {"run_id": "1", **names}),
    )
    return dataset


def tables_of(service: DatasetService) -> set[str]:
    catalog, schema = service.control_table.catalog, service.control_table.schema
    return {
        name
        for name in ("b", "s")
        if service.tables.columns(type(service.control_table)(catalog, schema, name)) is not None
    }


def test_j3_delete_keeps_tables_unless_told(service: DatasetService, tmp_path: Path) -> None:
    """Keep is the default: tables and files stay and are listed as orphans; the row is inactive."""
    dataset = synced(service)
    removed = delete(service, dataset.dataset_id)
    assert removed.dropped == ()
    assert tables_of(service) == {"b", "s"}
    assert [row.is_active for row in rows_of(service)] == [False]
    assert [one["dataset_id"] for one in orphans(service)] == [dataset.dataset_id]
    with pytest.raises(DatasetNotFound):
        service.status(dataset.dataset_id)
    assert service.events.history(dataset.dataset_id)[-1].status is Status.NOT_SYNCED
    assert len(landed(tmp_path)) == 1


def test_j3_drop_needs_a_confirmation(service: DatasetService, tmp_path: Path) -> None:
    """Without it nothing is done; with it both tables go, the files too if asked; another tenant cannot."""
    dataset = synced(service)
    with pytest.raises(DatasetError, match="confirmation"):
        delete(service, dataset.dataset_id, on_delete="drop")
    with pytest.raises(DatasetNotFound):
        delete(service, dataset.dataset_id, tenant="other", on_delete="drop", confirmed=True)
    assert tables_of(service) == {"b", "s"}
    removed = delete(service, dataset.dataset_id, on_delete="drop", files=True, confirmed=True)
    assert len(removed.dropped) == 2
    assert tables_of(service) == set()
    assert orphans(service) == []
    assert landed(tmp_path) == []
    service.ingest(RECORDS, name="X")
    [row] = [row for row in rows_of(service) if row.active]
    assert control_rows.config(row.target_config)["table"] == "x"


def test_events_are_the_ones_of_the_room(service: DatasetService) -> None:
    """Another reader of the events table sees the upload."""
    dataset = service.ingest(RECORDS, name="X").dataset
    other = Events(service.tables, service.names.events)
    assert other.latest()[dataset.dataset_id].status is Status.PENDING


def test_i3_diagnosis_without_a_workspace(service: DatasetService, clock: Any) -> None:
    """Each check has its line; a sync that was never run lacks both tables; what is pending too long says why."""

    def gone() -> Any:
        raise Unavailable("the workspace does not answer")

    dataset = service.ingest(RECORDS, name="X").dataset
    found = {one.name: one for one in diagnose(service, dataset.dataset_id, gone)}
    assert found["switches"].ok
    assert found["landed file"].ok
    assert found["control row"].ok
    assert found["job"].ok is False
    assert found["sync"].ok
    assert found["bronze table"].ok is False
    assert found["silver table"].ok is False
    clock.move(minutes=6)
    found = {one.name: one for one in diagnose(service, dataset.dataset_id, gone)}
    assert found["sync"].ok is False
    assert found["sync"].text.startswith("pending for 6 minutes: the workspace does not tell")


class Here:
    """A workspace that says only which one it is."""

    workspace_id = "7"


@pytest.mark.parametrize(
    ("events", "ok", "told"),
    [
        ((), False, "nothing was ever done"),
        ((("updated", 40),), False, "`updated datasets_default`, 40 minutes ago"),
        ((("updated", 3),), True, "a pass did `updated datasets_default` 3 minutes ago"),
        ((("heartbeat", 40), ("updated", 50)), False, "its last heartbeat is 40 minutes old"),
        ((("heartbeat", 3),), True, "its heartbeat is fresh"),
    ],
)
def test_g8_a_monitor_that_a_trigger_starts_is_no_missing_one(
    service: DatasetService, events: Any, ok: bool, told: str
) -> None:
    """It writes no heartbeat, but what it did lately shows that it runs; only silence is told as the cause."""
    dataset = service.ingest(RECORDS, name="X").dataset
    written = [
        Event(kind, START - timedelta(minutes=minutes), "" if kind == "heartbeat" else "datasets_default")
        for kind, minutes in events
    ]
    if written:
        ControlEvents(service.tables, service.control_table, "7").append(written)
    workspace: Any = Here()
    found = {one.name: one for one in diagnose(service, dataset.dataset_id, lambda: workspace)}
    assert (found["monitor"].ok, told in found["monitor"].text) == (ok, True), found["monitor"].text
