"""The guard lets every cluster start but a primary that was taken over from, and that one never again."""

import json
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "roles/postgres/files/postgres-peers"
loader = SourceFileLoader("postgres_peers", str(SOURCE))
peers = module_from_spec(spec_from_loader(loader.name, loader))
loader.exec_module(peers)

SYSTEM = "7"
DOWN = {"answers": False, "refused": False, "why": "closed"}
NO_WAY = {"answers": False, "refused": True, "why": "refused"}


def answer(*, primary, timeline, system=SYSTEM):
    return {
        "answers": True, "refused": False, "why": "", "is_primary": primary, "timeline": timeline, "system": system,
    }  # fmt: skip


class Clock:
    """Passes when somebody sleeps."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(peers, "time", clock)
    return clock


@pytest.fixture
def cluster(tmp_path, clock, monkeypatch):
    """db1 on timeline 1, with a database; ``said`` is what its peer db2 answers, one answer after the other."""
    (tmp_path / "base" / "16384").mkdir(parents=True)
    config = {"name": "db1", "data": str(tmp_path), "port": 5432, "peers": [{"name": "db2", "address": "127.0.0.2"}]}
    cluster = peers.Peers(config)
    cluster.said = []
    monkeypatch.setattr(cluster, "own", lambda: (SYSTEM, 1))
    monkeypatch.setattr(cluster, "ask", lambda peer: cluster.said.pop(0) if len(cluster.said) > 1 else cluster.said[0])
    return cluster


def test_a_primary_that_was_taken_over_from_does_not_start_and_says_what_to_do(cluster, capsys):
    cluster.said = [answer(primary=True, timeline=2)]
    assert cluster.guard() == peers.REFUSED
    assert "make rejoin HOST=db1" in capsys.readouterr().err


def test_it_does_not_start_later_either_when_nobody_answers(cluster, capsys):
    cluster.said = [answer(primary=True, timeline=2)]
    cluster.guard()
    cluster.said = [DOWN]
    assert cluster.guard() == peers.REFUSED
    assert "db2 was promoted" in capsys.readouterr().err


@pytest.mark.parametrize(
    "said",
    [
        answer(primary=False, timeline=1),
        answer(primary=False, timeline=2),
        answer(primary=True, timeline=2, system="8"),  # not this cluster's successor
    ],
)
def test_a_primary_with_a_standby_starts_at_once(cluster, clock, said):
    cluster.said = [said]
    assert cluster.guard() == 0
    assert clock.now == 0


def test_the_younger_of_two_primaries_starts(cluster, monkeypatch):
    monkeypatch.setattr(cluster, "own", lambda: (SYSTEM, 3))
    cluster.said = [answer(primary=True, timeline=2)]
    assert cluster.guard() == 0


def test_a_peer_that_is_down_delays_a_start_and_does_not_forbid_it(cluster, clock):
    cluster.said = [DOWN]
    assert cluster.guard() == 0
    assert peers.PATIENCE_S <= clock.now <= 2 * peers.PATIENCE_S


def test_a_peer_that_comes_up_meanwhile_is_heard(cluster):
    cluster.said = [NO_WAY, NO_WAY, DOWN, DOWN, answer(primary=True, timeline=2)]
    assert cluster.guard() == peers.REFUSED


def test_nothing_starts_as_long_as_there_is_no_way_to_the_peers(cluster, clock):
    cluster.said = [NO_WAY]
    assert cluster.guard() == peers.NOT_NOW
    assert not cluster.note.exists()


@pytest.mark.parametrize("kind", ["standby", "empty"])
def test_what_can_not_be_taken_over_asks_nobody(cluster, tmp_path, kind):
    if kind == "standby":
        (tmp_path / "standby.signal").touch()
    else:
        (tmp_path / "base" / "16384").rmdir()
    cluster.said = [answer(primary=True, timeline=2)]
    assert cluster.guard() == 0


def test_a_broken_guard_does_not_keep_the_database_down(monkeypatch, tmp_path):
    monkeypatch.setattr(peers, "CONFIG", tmp_path / "missing.json")
    monkeypatch.setattr(peers.sys, "argv", ["postgres-peers", "guard"])
    assert peers.main() == 0


@pytest.mark.parametrize(
    ("said", "is_stopped"),
    [
        (answer(primary=True, timeline=2), True),
        (answer(primary=True, timeline=1), False),  # which of the two is the old one can't be told
        (answer(primary=False, timeline=1), False),
        (DOWN, False),
        (NO_WAY, False),
    ],
)
def test_a_running_primary_is_stopped_only_by_a_younger_one(cluster, monkeypatch, said, is_stopped):
    called = []

    class Done:
        returncode = 0

    def run(command, **_):
        called.append(command[1])
        return Done()

    monkeypatch.setattr(peers.subprocess, "run", run)
    cluster.said = [said]
    assert cluster.watch() == 0
    assert ("stop" in called) == is_stopped
    assert cluster.note.exists() == is_stopped


def test_answers_are_printed_as_json(cluster, monkeypatch, capsys, tmp_path):
    config = tmp_path / "peers.json"
    config.write_text(json.dumps(cluster.config | {"peers": []}))
    monkeypatch.setattr(peers, "CONFIG", config)
    monkeypatch.setattr(peers.sys, "argv", ["postgres-peers", "ask"])
    assert peers.main() == 0
    assert json.loads(capsys.readouterr().out) == {}
