"""The lab's driver tells what is wrong, and how to mend it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

TOPOLOGIES = ROOT / "docker" / "lab" / "topologies"


def lab_up(topology: str = "single", **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "docker/lab/lab.py", "--lab", "matchpoint-none", "up", "--topology", topology]
    variables = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, env=variables)


@pytest.fixture
def topology() -> Iterator[Path]:
    path = TOPOLOGIES / "broken-by-a-test.yml"
    yield path
    path.unlink(missing_ok=True)


def test_unknown_topology_is_refused_with_the_known_ones() -> None:
    refused = lab_up("triangle")
    assert refused.returncode == 1
    assert "no topology 'triangle'" in refused.stderr
    assert "single" in refused.stderr


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "`hosts` must map host names to lists of groups"),
        ("hosts: [mp1]", "`hosts` must map host names to lists of groups"),
        ("hosts: {mp1: [app, edges]}", "host mp1 is in edges; the groups are db, cache, app, edge, monitor"),
        ("hosts: {mp1: []}", "host mp1 is in nothing"),
    ],
)
def test_bad_topology_is_refused_with_its_fault(topology: Path, text: str, complaint: str) -> None:
    topology.write_text(text)
    refused = lab_up(topology.stem)
    assert refused.returncode == 1
    assert complaint in refused.stderr
    assert str(topology) in refused.stderr


def test_lab_names_where_to_go_when_there_is_no_docker(tmp_path: Path) -> None:
    refused = lab_up(PATH=str(tmp_path), DOCKER_HOST="unix:///nonexistent.sock", MATCHPOINT_ENGINE_DIR=str(tmp_path))
    assert refused.returncode == 1
    assert "make play" in refused.stderr
