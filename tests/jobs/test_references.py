"""References that only a workspace can answer."""

from __future__ import annotations

import copy

from lakeflow_job_meta.jobs.references import required_modules, resolve, unresolved

SETTINGS = {
    "name": "${module.a}",
    "tasks": [
        {
            "sql_task": {
                "query": {"query_id": "${query.customers}"},
                "parameters": {"x": "${query.customers}"},
            }
        },
        {"run_job_task": {"job_id": "${module.a}"}},
        {"for_each_task": {"task": {"run_job_task": {"job_id": "${module.b c}"}}}},
        {"run_job_task": {"job_id": 5}},
    ],
}


def test_known_references_become_ids_and_the_rest_stays():
    before = copy.deepcopy(SETTINGS)
    result = resolve(SETTINGS, queries={"customers": "q1"}, jobs={"a": 7})
    assert result["tasks"][0]["sql_task"]["query"]["query_id"] == "q1"
    assert result["tasks"][1]["run_job_task"]["job_id"] == 7
    assert unresolved(result) == {"${module.b c}"}
    assert before == SETTINGS


def test_the_same_text_elsewhere_is_the_user_s():
    """A parameter or a name that looks like a reference is not one."""
    result = resolve(SETTINGS, queries={"customers": "q1"}, jobs={"a": 7})
    assert result["tasks"][0]["sql_task"]["parameters"] == {"x": "${query.customers}"}
    assert result["name"] == "${module.a}"


def test_what_is_referred_to():
    assert required_modules(SETTINGS) == {"a", "b c"}
    assert unresolved(SETTINGS) == {"${query.customers}", "${module.a}", "${module.b c}"}
    assert unresolved({"job_id": "text", "query_id": "${module.a}"}) == set()
