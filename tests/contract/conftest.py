"""Each test of the contract runs against every server; `expectation` names what it holds them to."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lakeflow_job_meta.ports import Workspace
from tests.contract.servers import DEVIATIONS, Server, embedded, minilake

STARTERS = {"minilake": minilake, "embedded": embedded}


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """The servers that are up; each is started when a test first asks for it."""
    with ExitStack() as stack:

        class Started(dict[str, Server]):
            def __missing__(self, name: str) -> Server:
                self[name] = stack.enter_context(STARTERS[name](tmp_path_factory.mktemp(name)))
                return self[name]

        yield Started()


@pytest.fixture(params=sorted(STARTERS))
def server(request: pytest.FixtureRequest, servers: dict[str, Server]) -> Server:
    name = request.param
    if name == "minilake" and importlib.util.find_spec("minilake") is None:
        pytest.skip("minilake needs Python 3.11")
    return servers[name]


@pytest.fixture
def workspace(request: pytest.FixtureRequest, server: Server) -> Workspace:
    expectation = request.node.get_closest_marker("expectation")
    if expectation is not None:
        reason = DEVIATIONS[server.name].get(expectation.args[0])
        if reason is not None:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    return server.workspace()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "expectation(name): what the contract expects; servers.DEVIATIONS lists who differs"
    )
