from __future__ import annotations

import pytest

from lakeflow_job_meta.metadata.dynamic_values import reference_problem, references

KEYS, PARAMETERS = {"extract", "load_1"}, {"day", "a.b"}


@pytest.mark.parametrize(
    "reference",
    [
        "job.id", "job.run_id", "job.name", "job.start_time.iso_date", "job.trigger.file_arrival.location", "job.parameters.day",
        "job.parameters.`day`", "job.parameters.a.b", "task.name", "task.run_id", "tasks.extract.values.x", "tasks.`load_1`.result_state",
        "workspace.id", "input", "input.x", "my.own", "target.schema", "x + 1", "backfill.iso_date", "ref('model')", "tags.x", "job",
    ],
)  # fmt: skip
def test_what_exists_or_is_not_the_platforms(reference):
    assert reference_problem(reference, KEYS, PARAMETERS) == ""


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("tasks.extarct.values.x", 'names unknown task "extarct" (did you mean "extract"?)'),
        ("tasks.extract", "does not exist"),
        ("tasks.extract.valeus.x", '(did you mean "values"?)'),
        ("tasks", "names no task"),
        ("job.parameters.dya", 'names a job parameter that is not declared (did you mean "day"?)'),
        ("job.parameters.zzz", "declare it under job.parameters"),
        ("job.naem", 'job has no "naem" (did you mean "name"?)'),
        ("job.notebook_url", 'job has no "notebook_url"'),
        ("task.retries", 'task has no "retries"'),
        ("jobs.parameters.day", "(did you mean job.parameters.day?)"),
        ("taks.extract.values.x", "(did you mean tasks.extract.values.x?)"),
        ("workspace.name", 'workspace has no "name"'),
    ],
)
def test_what_does_not_exist(reference, problem):
    assert problem in reference_problem(reference, KEYS, PARAMETERS)


def test_references_in_a_text():
    assert list(references("a {{job.id}} {{ tasks.x.values.y }} {{}} {x} {{a")) == [
        "job.id",
        "tasks.x.values.y",
    ]
