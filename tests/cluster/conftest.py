"""A cluster from nothing, a load on it, and figures at the end that people read."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.cluster.drills import Releases
from tests.cluster.load import Load
from tests.conftest import TEST_LAB, Lab, booted

TOLD = pytest.StashKey[list[tuple[str, list[str]]]]()

Tell = Callable[[str, list[str]], None]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TOLD] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for title, lines in config.stash.get(TOLD, []):
        terminalreporter.section(title, sep="-")
        for line in lines:
            terminalreporter.write_line(f"  {line}")


@pytest.fixture(scope="session")
def tell(pytestconfig: pytest.Config) -> Tell:
    """Says figures of a drill in the summary."""

    def told(title: str, lines: list[str]) -> None:
        pytestconfig.stash[TOLD].append((title, lines))

    return told


@dataclass(frozen=True)
class Cluster:
    """A lab that was deployed once."""

    lab: Lab
    releases: Releases
    output: str  # of the first deploy


@pytest.fixture(scope="session")
def cluster(tell: Tell) -> Iterator[Cluster]:
    with booted(Lab(f"{TEST_LAB}-cluster", "cluster")) as lab:
        releases = Releases(lab)
        began = time.monotonic()
        output = lab.make("deploy", releases.working("first"))
        tell("first deploy", [f"{time.monotonic() - began:.0f} s for {len(lab.hosts())} hosts"])
        yield Cluster(lab, releases, output)


@pytest.fixture(scope="session")
def lab(cluster: Cluster) -> Lab:
    return cluster.lab


@pytest.fixture(scope="session")
def releases(cluster: Cluster) -> Releases:
    return cluster.releases


@pytest.fixture(scope="session")
def load(lab: Lab, tell: Tell) -> Iterator[Load]:
    """40 matches and page views, from the first drill that asks for them to the end of the run."""
    with Load(lab, tell) as load:
        yield load
