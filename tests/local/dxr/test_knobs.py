from __future__ import annotations

import pytest

from lakeflow_job_meta.errors import LocalError, UsageError
from lakeflow_job_meta.local.dxr.knobs import Knobs, Wait, described, knobs_of, read_knobs


def test_every_knob_is_described_and_its_default_is_legal():
    """The defaults themselves pass the check that users' values must pass."""
    assert knobs_of(Knobs().to_json()) == Knobs()
    for name, knob in described().items():
        assert knob.text, name


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"job_shapes": "flat"}, "unknown knob 'job_shapes' (did you mean 'job_shape'?)"),
        ({"job_shape": "round"}, "'round' is not one of"),
        ({"index_lag": -1}, "knob index_lag"),
        ({"index_lag": {"polls": "x"}}, "knob index_lag"),
        ({"fail_rate": 2}, "greater than the maximum"),
        ({"http_faults": [{"route": "sbmit", "status": 500}]}, "knob http_faults[0]"),
        ({"http_faults": [{"route": "submit"}]}, "knob http_faults[0]"),
        ({"stream_faults": [{"kind": "cut"}]}, "knob stream_faults[0]['kind']"),
        ({"state_script": []}, "knob state_script"),
        ({"prefix": "api"}, "knob prefix"),
    ],
)
def test_wrong_knobs_are_refused(given, message):
    """An unknown name or value is told, with the nearest name."""
    with pytest.raises(UsageError) as error:
        knobs_of(given)
    assert message in str(error.value)


def test_all_wrong_knobs_at_once():
    with pytest.raises(UsageError, match=r"(?s)fleets.*fail_rate"):
        knobs_of({"fleets": 1, "fail_rate": 3})


def test_knobs_from_a_file(tmp_path):
    """YAML and JSON alike; an empty file is all defaults."""
    file = tmp_path / "faults.yaml"
    file.write_text("index_lag: {polls: 2}\nhttp_faults:\n- {route: submit, nth: 1, status: 503}\n")
    knobs = read_knobs(file)
    assert knobs.index_lag == {"polls": 2}
    assert knobs.http_faults[0]["status"] == 503
    file.write_text('{"fleet": 3}')
    assert read_knobs(file).fleet == 3
    file.write_text("")
    assert read_knobs(file) == Knobs()


@pytest.mark.parametrize("text", ["- a", "a: [", "12"])
def test_a_file_that_is_no_mapping(tmp_path, text):
    file = tmp_path / "faults.yaml"
    file.write_text(text)
    with pytest.raises(LocalError, match=r"faults\.yaml"):
        read_knobs(file)


def test_waits():
    """Seconds, looks, or for ever."""
    assert Wait.of(0).is_over(0, 0)
    assert not Wait.of(2).is_over(1.9, 99)
    assert Wait.of(2).is_over(2, 0)
    assert not Wait.of({"polls": 2}).is_over(999, 1)
    assert Wait.of({"polls": 2}).is_over(0, 2)
    assert not Wait.of(None).is_over(1e9, 10**9)
