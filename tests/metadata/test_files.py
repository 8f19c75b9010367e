from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakeflow_job_meta.errors import Place
from lakeflow_job_meta.metadata.build import define
from lakeflow_job_meta.metadata.files import MetadataFile, read_metadata
from lakeflow_job_meta.metadata.rows import Row
from lakeflow_job_meta.settings import Settings
from tests.metadata.given import DESIGN_EXAMPLE, read, told

SOURCE = "{source_id: %s, source_type: t, execution_order: 1, transformation_config: {task_type: notebook, notebook_path: /a}}"


def file_of(*sources: str, module: str = "m", head: str = "", more: str = "") -> str:
    listed = "".join(f"      - {source}\n" for source in sources)
    return (
        f"{head}modules:\n  - module_name: {module}\n{more}    sources:\n{listed}"
        if sources
        else f"{head}modules: []\n"
    )


def config_of(file: MetadataFile, source_id: str) -> dict[str, object]:
    (row,) = [row for row in file.rows if row.source_id == source_id]
    return json.loads(row.transformation_config or "{}")


def test_the_example_of_the_design():
    file = read(DESIGN_EXAMPLE, warehouse_id="abc")
    assert told(file) == []
    assert file.modules == ("sales_dev",)
    assert file.sha256 == hashlib.sha256(DESIGN_EXAMPLE.encode()).hexdigest()
    job, source = file.rows
    assert job == Row(
        "__job__",
        "sales_dev",
        "job",
        0,
        "{}",
        "{}",
        '{"description":"Bronze to silver","permissions":[{"group_name":"data-eng","level":"CAN_MANAGE_RUN"}],'
        '"schedule":{"quartz_cron_expression":"0 0 2 * * ?","timezone_id":"UTC"}}',
        True,
    )
    assert source == Row(
        "customers",
        "sales_dev",
        "sql",
        1,
        "{}",
        "{}",
        '{"sql_task":{"parameters":{"threshold":"5.0"},"sql_query":"SELECT 1","warehouse_id":"abc"},"task_type":"sql_query"}',
        True,
    )


def test_the_same_file_gives_other_rows_with_other_variables():
    one, other = (read(DESIGN_EXAMPLE, warehouse_id="abc", env=env) for env in ("dev", "prod"))
    assert one.modules == ("sales_dev",)
    assert other.modules == ("sales_prod",)
    assert one.sha256 == other.sha256


def test_rows_of_a_file_are_judged_as_rows_of_the_table():
    """Whoever typed it: the same validator, the same definition."""
    file = read(DESIGN_EXAMPLE, warehouse_id="abc")
    defined = define(file.rows, table="c.s.t", settings=Settings())
    assert defined.problems == ()
    assert defined.definition == file.definitions["sales_dev"]


def test_a_module_without_job_settings_has_no_job_row():
    file = read(file_of(SOURCE % "a"))
    assert [row.source_id for row in file.rows] == ["a"]


def test_an_empty_list_of_modules_is_a_valid_file():
    file = read("modules: []\n")
    assert (file.rows, file.problems, file.rejected) == ((), (), False)


def test_a_module_without_sources_is_claimed_and_gives_nothing():
    file = read("modules:\n  - {module_name: m, sources: []}\n")
    assert file.modules == ("m",)
    assert file.rows == ()
    assert file.problems == ()


def test_an_inactive_source_and_an_inactive_module():
    file = read(
        file_of(SOURCE % "a", (SOURCE % "b")[:-1] + ", is_active: false}", more="    is_active: false\n")
    )
    assert [(row.source_id, row.is_active) for row in file.rows] == [
        ("__job__", False),
        ("a", True),
        ("b", False),
    ]
    assert not file.definitions["m"].active


def test_settings_of_the_module_go_into_its_job_row():
    more = "    drift: report\n    retire: delete\n    run_on_change: true\n    default_warehouse_id: w\n"
    file = read(file_of(SOURCE % "a", more=more))
    assert told(file) == []
    assert dict(file.definitions["m"].options) == {
        "drift": "report", "retire": "delete", "run_on_change": True, "default_warehouse_id": "w",
    }  # fmt: skip


class TestRejectedFiles:
    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("", "f.yaml:1:1: the file is empty"),
            ("# only words\n", "f.yaml:1:1: the file is empty"),
            ("- a\n", "f.yaml:1:1: the file must be a mapping, not a list of 1"),
            ("just text\n", 'f.yaml:1:1: the file must be a mapping, not "just text"'),
            ("metadata_version: '1.0'\n", "f.yaml:1:1: there is nothing here: write modules: []"),
            ("modulez: []\n", 'f.yaml:1:1: unknown key "modulez" (did you mean "modules"?)'),
            ("modules:\n", "f.yaml:1:9: modules must be a list, not null; modules: [] is the empty one"),
            ("modules: {}\n", "f.yaml:1:10: modules must be a list, not {}"),
            ("modules: []\nmetadata_version: '2.0'\n", 'f.yaml:2:19: metadata_version must be "1.0", not "2.0"'),
            ("modules: []\nmodules: []\n", 'f.yaml:2:1: duplicate key "modules": it is at line 1, column 1 already'),
            ("modules: []\nvariables: [a]\n", "f.yaml:2:12: variables must be a mapping"),
            ("modules: []\nvariables: {a: {defalt: 1}}\n", 'f.yaml:2:17: unknown key "defalt" (did you mean "default"?)'),
            ("modules: []\nvariables: {a: {default: 1.5}}\n", 'f.yaml:2:26: the default of a variable must be text, not 1.5: write "1.5" in quotes'),
            ("modules: []\nvariables: {a: {default: '${var.b}'}}\n", "f.yaml:2:26: a variable cannot be made of other variables"),
            ("modules: []\nvariables: {'a b': x}\n", 'f.yaml:2:13: "a b" cannot be a variable'),
            ("modules: []\nvariables: {a: {lookup: {warehouse: x}}}\n", "f.yaml:2:17: lookup is not read"),
            ("modules: []\ndefaults: 7\n", "f.yaml:2:11: defaults must be a mapping"),
            ("modules: []\ndefaults: {transformation_cnfig: {}}\n", 'f.yaml:2:12: unknown key "transformation_cnfig" (did you mean "transformation_config"?)'),
            ("modules: []\ndefaults: {transformation_config: 7}\n", 'f.yaml:2:35: "transformation_config" must be a mapping'),
            ("modules: []\ndefaults: {source_id: x}\n", "f.yaml:2:12: source_id cannot be a default"),
            ("modules: []\ntargets: {}\n", "f.yaml:2:1: targets is a key of bundles"),
            ("modules: [\n", "f.yaml:2:1: YAML syntax"),
        ],
    )  # fmt: skip
    def test_nothing_of_them_is_taken(self, text, problem):
        file = read(text)
        assert file.rejected
        assert file.rows == ()
        assert [one for one in told(file) if one.startswith(problem)], told(file)
        assert all(one.module == "" for one in file.problems)

    def test_all_at_once(self):
        file = read("modulez: []\nmetadata_version: 3\nvariables: 7\n")
        assert len(file.problems) == 4


class TestLocalErrors:
    def test_one_bad_module_leaves_the_others(self):
        text = (
            "modules:\n"
            "  - module_name: good\n"
            f"    sources: [{SOURCE % 'a'}]\n"
            "  - module_name: bad\n"
            "    sources: [{source_id: a}]\n"
        )
        file = read(text)
        assert not file.rejected
        assert file.modules == ("good", "bad")
        assert file.refused == {"bad"}
        assert {row.module_name for row in file.rows} == {"good"}
        assert {problem.module for problem in file.problems} == {"bad"}

    def test_every_problem_with_its_place_and_pointer(self):
        text = file_of(
            "{source_id: a, source_type: t, execution_order: 1, transformation_config: {task_type: notebook, notebok_path: /a, max_retries: x}}",
            "{source_id: b, source_typ: t, execution_order: one, transformation_config: []}",
            "{source_type: t, execution_order: 1, transformation_config: {task_type: notebook, notebook_path: /a}}",
            "{source_id: 7, source_type: t, execution_order: 1, transformation_config: {task_type: notebook, notebook_path: /a}}",
            "nonsense",
        )
        file = read(text)
        assert [(str(problem.place), problem.pointer) for problem in file.problems] == [
            ("f.yaml:4:105", "/modules/0/sources/0/transformation_config/notebok_path"),
            ("f.yaml:4:136", "/modules/0/sources/0/transformation_config/max_retries"),
            ("f.yaml:5:24", "/modules/0/sources/1/source_typ"),
            ("f.yaml:5:56", "/modules/0/sources/1/execution_order"),
            ("f.yaml:5:84", "/modules/0/sources/1/transformation_config"),
            ("f.yaml:6:9", "/modules/0/sources/2"),
            ("f.yaml:7:21", "/modules/0/sources/3/source_id"),
            ("f.yaml:8:9", "/modules/0/sources/4"),
        ]
        assert file.problems[0].message == 'unknown key "notebok_path" (did you mean "notebook_path"?)'
        assert file.problems[0].source_id == "a"

    def test_a_dependency_that_is_misspelt(self):
        second = (SOURCE % "load").replace("notebook_path: /a", "notebook_path: /a, depends_on: [extarct]")
        file = read(file_of(SOURCE % "extract", second))
        assert told(file) == [
            'f.yaml:5:140: source "load" depends on unknown source "extarct" (did you mean "extract"?)'
        ]

    def test_duplicate_keys_and_surprises_refuse_their_module_only(self):
        text = (
            "modules:\n"
            f"  - {{module_name: good, sources: [{SOURCE % 'a'}]}}\n"
            "  - module_name: bad\n"
            f"    sources: [{SOURCE % 'a'}]\n"
            "    is_active: no\n"
            "    description: x\n"
            "    description: y\n"
        )
        file = read(text)
        assert file.refused == {"bad"}
        assert [str(problem) for problem in file.problems] == [
            'f.yaml:5:16: plain no is a boolean to YAML 1.1: write "no" in quotes for the text, or false',
            'f.yaml:7:5: duplicate key "description": it is at line 6, column 5 already',
        ]

    def test_two_places_that_claim_one_module_are_both_named(self):
        text = f"variables: {{n: x}}\nmodules:\n  - {{module_name: m_x, sources: [{SOURCE % 'a'}]}}\n  - {{module_name: 'm_${{var.n}}', sources: []}}\n"
        file = read(text)
        assert file.refused == {"m_x"}
        assert told(file) == [
            'f.yaml:3:6: module "m_x" is claimed at f.yaml:4:19 too: keep one',
            'f.yaml:4:6: module "m_x" is claimed at f.yaml:3:19 too: keep one',
        ]

    def test_two_sources_with_one_id_are_both_named(self):
        file = read(file_of(SOURCE % "a", SOURCE % "a"))
        assert told(file) == ['f.yaml:5:9: source_id "a" is taken: another source has it at f.yaml:4:9']

    def test_a_module_whose_name_cannot_be_told_leaves_the_file_incomplete(self):
        """What the file gave before may be that module: nothing of it may count as gone."""
        for name in ("module_name: '${var.nope}', ", "module_name: 7, ", "", "modul_name: x, "):
            file = read(
                f"modules:\n  - {{{name}sources: []}}\n  - {{module_name: good, sources: [{SOURCE % 'a'}]}}\n"
            )
            assert file.incomplete
            assert not file.rejected
            assert {row.module_name for row in file.rows} == {"good"}
            assert len(file.refused) == 1
        assert not read(file_of(SOURCE % "a")).incomplete

    @pytest.mark.parametrize("item", ["7", "null", "[]", "text"])
    def test_a_module_that_is_no_mapping(self, item):
        file = read(f"modules:\n  - {item}\n")
        assert file.incomplete
        assert "must be a mapping with module_name" in told(file)[0]

    @pytest.mark.parametrize("sources", ["sources:", "sources: {}", "sources: 7", "description: x"])
    def test_sources_left_empty_are_no_way_to_retire_by_accident(self, sources):
        file = read(f"modules:\n  - module_name: m\n    {sources}\n")
        assert file.refused == {"m"}
        assert "sources: [] retires the module" in told(file)[0]

    def test_job_settings_beside_job_are_sent_there(self):
        file = read(file_of(SOURCE % "a", more="    schedule: {}\n    job: {drift: report}\n"))
        assert [str(one).split(": ", 1)[1] for one in file.problems] == [
            '"schedule" belongs under job:',
            "drift is a setting of the module: write it beside job",
        ]

    def test_two_descriptions(self):
        file = read(file_of(SOURCE % "a", more="    description: x\n    job: {description: z}\n"))
        assert "description stands here and in job" in told(file)[0]

    def test_problems_of_the_job_have_their_place(self):
        more = '    job:\n      schedule: {quartz_cron_expression: "nonsense", timezone_id: UTC}\n      tasks: []\n      nme: x\n'
        file = read(file_of(SOURCE % "a", more=more))
        assert [str(problem.place) for problem in file.problems] == ["f.yaml:5:7", "f.yaml:6:7"] or [
            (str(problem.place), problem.pointer) for problem in file.problems
        ] == [("f.yaml:5:14", "/modules/0/job/tasks"), ("f.yaml:6:7", "/modules/0/job/nme")]
        file = read(file_of(SOURCE % "a", more=more.replace("      tasks: []\n      nme: x\n", "")))
        assert [(problem.place, problem.pointer) for problem in file.problems] == [
            (Place("f.yaml", 4, 42), "/modules/0/job/schedule/quartz_cron_expression")
        ]

    @pytest.mark.parametrize("name", ["__control__", "__x", "a{b"])
    def test_reserved_names(self, name):
        assert read(file_of(SOURCE % "a", module=f'"{name}"')).refused == {name}

    def test_the_settings_row_cannot_come_from_a_file(self):
        assert read(file_of(SOURCE % "__settings__", module="__control__")).rows == ()


class TestVariables:
    HEAD = "variables: {env: {default: dev}, n: 3, on_call: {}}\n"

    def test_defaults_of_any_plain_kind_are_texts(self):
        source = (SOURCE % "a").replace("/a", '"/${var.env}/${var.n}"')
        file = read(file_of(source, head=self.HEAD))
        assert config_of(file, "a")["notebook_path"] == "/dev/3"

    def test_a_whole_number_by_variable(self):
        source = (
            (SOURCE % "a")
            .replace("/a", '/a, max_retries: "${var.n}"')
            .replace("execution_order: 1", "execution_order: '${var.n}'")
        )
        file = read(file_of(source, head=self.HEAD))
        assert told(file) == []
        assert file.rows[0].execution_order == 3
        assert file.definitions["m"].sources[0].task == {"max_retries": 3}

    def test_no_value_is_an_error_of_the_modules_that_use_it(self):
        misspelt = (SOURCE % "a").replace("/a", "'/${var.evn}'")
        text = (
            self.HEAD
            + "modules:\n"
            + f"  - {{module_name: good, sources: [{SOURCE % 'a'}]}}\n"
            + f"  - {{module_name: bad, description: '${{var.on_call}}', sources: [{misspelt}]}}\n"
        )
        file = read(text)
        assert file.refused == {"bad"}
        assert [problem.message for problem in file.problems] == [
            'variable "on_call" has no value: give it a default under variables, or pass --var on_call=VALUE',
            'unknown variable "evn" (did you mean "env"?)',
        ]
        assert [problem.pointer for problem in file.problems] == [
            "/modules/1/description",
            "/modules/1/sources/0/transformation_config/notebook_path",
        ]

    def test_a_variable_in_defaults_is_used_only_where_they_apply(self):
        head = self.HEAD + "defaults: {transformation_config: {description: '${var.on_call}'}}\n"
        overridden = (SOURCE % "a").replace("/a", "/a, description: mine")
        assert told(read(file_of(overridden, head=head))) == []
        file = read(file_of(SOURCE % "a", head=head))
        assert [problem.pointer for problem in file.problems] == [
            "/defaults/transformation_config/description"
        ]

    def test_given_variables_need_no_declaration(self):
        source = (SOURCE % "a").replace("/a", '"/${var.free}"')
        assert config_of(read(file_of(source), free="x"), "a")["notebook_path"] == "/x"

    def test_ids_and_types_by_variable(self):
        file = read(file_of(SOURCE % "'a_${var.env}'", head=self.HEAD))
        assert file.rows[0].source_id == "a_dev"

    @settings(max_examples=100)
    @given(st.text())
    def test_a_value_is_text_and_nothing_else(self, value):
        """Quotes, braces, YAML and references inside a value stay text, through both steps."""
        source = (SOURCE % "a").replace("/a", '/a, base_parameters: {"p": "<${var.v}>"}')
        file = read(file_of(source, head="variables: {w: {default: never}}\n"), v=value)
        assert told(file) == []
        assert file.definitions["m"].sources[0].settings["base_parameters"] == {"p": f"<{value}>"}
        again = define(file.rows, table="c.s.t", settings=Settings({"variables": {"v": "x", "w": "y"}}))
        assert again.definition == file.definitions["m"]

    def test_settings_of_the_module_by_variable(self):
        head = "variables: {d: report, yes_or_no: true, off: {default: false}}\n".replace("off", "down")
        more = "    drift: ${var.d}\n    run_on_change: ${var.yes_or_no}\n    is_active: ${var.down}\n    description: $${var.d}\n"
        file = read(file_of(SOURCE % "a", head=head, more=more))
        assert told(file) == []
        definition = file.definitions["m"]
        assert not definition.active
        assert definition.options == {"drift": "report", "run_on_change": True}
        assert definition.job == {"description": "${var.d}"}

    def test_one_problem_a_place(self):
        source = (SOURCE % "a").replace("execution_order: 1", "execution_order: '${var.nope}'")
        (problem,) = read(file_of(source, more="    retire: delete\n")).problems
        assert "unknown variable" in problem.message

    def test_the_text_itself(self):
        source = (SOURCE % "a").replace("/a", '/a, base_parameters: {"p": "$${var.env}"}')
        file = read(file_of(source, head=self.HEAD))
        assert file.definitions["m"].sources[0].settings["base_parameters"] == {"p": "${var.env}"}

    def test_references_to_modules_stay(self):
        source = "{source_id: a, source_type: t, execution_order: 1, transformation_config: {task_type: run_job, run_job_task: {job_id: '${module.other}'}}}"
        file = read(file_of(source))
        assert file.definitions["m"].sources[0].settings == {"job_id": "${module.other}"}


class TestDefaults:
    def test_maps_merge_lists_are_replaced_null_removes(self):
        head = (
            "defaults:\n"
            "  source_type: table\n"
            "  execution_order: 4\n"
            "  source_config: {keep: 1, gone: 2, deep: {a: 1, b: 2}, list: [1, 2]}\n"
            "  transformation_config: {task_type: notebook, max_retries: 2, timeout_seconds: 60}\n"
        )
        file = read(
            file_of(
                "{source_id: a, source_config: {gone: null, deep: {b: 3}, list: [9]}, transformation_config: {notebook_path: /a, timeout_seconds: null}}",
                head=head,
            )
        )
        assert told(file) == []
        (row,) = file.rows
        assert (row.source_type, row.execution_order) == ("table", 4)
        assert json.loads(row.source_config) == {"keep": 1, "deep": {"a": 1, "b": 3}, "list": [9]}
        assert config_of(file, "a") == {"task_type": "notebook", "max_retries": 2, "notebook_path": "/a"}

    def test_those_of_the_module_win_over_those_of_the_file(self):
        head = "defaults: {transformation_config: {max_retries: 1, timeout_seconds: 1}}\n"
        file = read(
            file_of(SOURCE % "a", head=head, more="    defaults: {transformation_config: {max_retries: 2}}\n")
        )
        config = config_of(file, "a")
        assert (config["max_retries"], config["timeout_seconds"]) == (2, 1)

    def test_one_set_of_defaults_serves_a_mixture_of_task_types(self):
        head = "defaults: {transformation_config: {sql_task: {warehouse_id: w}, max_retries: 1}}\n"
        sql = "{source_id: b, source_type: t, execution_order: 1, transformation_config: {task_type: sql_query, sql_task: {sql_query: SELECT 1}}}"
        file = read(file_of(SOURCE % "a", sql, head=head))
        assert told(file) == []
        assert config_of(file, "a") == {"task_type": "notebook", "notebook_path": "/a", "max_retries": 1}
        assert config_of(file, "b")["sql_task"] == {"warehouse_id": "w", "sql_query": "SELECT 1"}

    def test_but_what_the_source_says_itself_is_judged(self):
        source = (SOURCE % "a").replace("/a", "/a, sql_task: {warehouse_id: w}")
        assert "does not belong" in told(read(file_of(source)))[0]

    def test_defaults_of_jobs(self):
        head = "defaults: {job: {tags: {team: a, cost: b}, max_concurrent_runs: 3}}\n"
        file = read(file_of(SOURCE % "a", head=head, more="    job: {tags: {cost: null, own: c}}\n"))
        assert file.definitions["m"].job == {"tags": {"team": "a", "own": "c"}, "max_concurrent_runs": 3}
        assert "no job" in told(read(file_of(SOURCE % "a", more="    defaults: {job: {}}\n")))[0]

    def test_a_problem_in_defaults_is_told_at_the_defaults(self):
        head = "defaults:\n  transformation_config: {max_retries: many}\n"
        file = read(file_of(SOURCE % "a", SOURCE % "b", head=head))
        assert {str(problem.place) for problem in file.problems} == {"f.yaml:2:40"}
        assert {problem.pointer for problem in file.problems} == {
            "/defaults/transformation_config/max_retries"
        }


def test_a_place_for_anchors():
    head = "x-shared: &shared {task_type: notebook, max_retries: 2}\n"
    source = "{source_id: a, source_type: t, execution_order: 1, transformation_config: {<<: *shared, notebook_path: /a}}"
    assert config_of(read(file_of(source, head=head)), "a")["max_retries"] == 2


class TestWarehouse:
    TEXT = file_of(
        "{source_id: a, source_type: t, execution_order: 1, transformation_config: {task_type: sql_query, sql_task: {sql_query: SELECT 1}}}"
    )

    def test_while_nothing_is_known_of_a_default_the_file_passes(self):
        assert told(read(self.TEXT)) == []

    def test_with_the_settings_it_is_decided(self):
        file = read_metadata(self.TEXT.encode(), "f.yaml", {}, Settings())
        assert [problem.pointer for problem in file.problems] == [
            "/modules/0/sources/0/transformation_config/sql_task"
        ]
        assert (
            read_metadata(self.TEXT.encode(), "f.yaml", {}, Settings({"default_warehouse_id": "w"})).problems
            == ()
        )


def test_texts_multiplied_beyond_measure_reject_the_file(monkeypatch):
    monkeypatch.setattr("lakeflow_job_meta.metadata.files.MAX_ROWS_TEXT", 1000)
    head = f"defaults: {{transformation_config: {{description: {'x' * 500}}}}}\n"
    file = read(file_of(*[SOURCE % f"a{n}" for n in range(5)], head=head))
    assert file.rejected
    assert "more than 1000 characters" in told(file)[0]


@settings(max_examples=200)
@given(
    st.lists(
        st.sampled_from(
            ["modules:", "  - module_name: m", "    sources:", "      - source_id: a", "        source_type: t", "jobs:", "  j:", "    tasks:",
             "      - task_key: a", "        execution_order: 1", "variables: {a: {default: 1}}", "        transformation_config:",
             "          task_type: notebook", "          notebook_path: ${var.a}", "resources:", "defaults: {}", "  jobs:", "    job: {}", "[", "- ", "a: &a [*a]", "x"]
        ),
        max_size=14,
    ).map("\n".join)
)  # fmt: skip
def test_any_arrangement_gives_a_file_and_never_raises(text):
    file = read(text)
    assert isinstance(file, MetadataFile)
    assert file.rejected == any(not problem.module for problem in file.problems)
    assert {row.module_name for row in file.rows}.isdisjoint(file.refused)
    assert set(file.modules) >= file.refused
    if file.rejected:
        assert file.rows == ()
    for problem in file.problems:
        assert problem.place is not None
        assert problem.place.line >= 1


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_file(data):
    assert isinstance(read(data), MetadataFile)
