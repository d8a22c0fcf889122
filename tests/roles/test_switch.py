"""Which workers a switch moves, and which it leaves for later."""

import json

import pytest

from tests.roles.test_full_disk import app_switch

OLD = ["matchpoint-web@8001", "matchpoint-live@8101", "matchpoint-live@8102"]
NEW = "matchpoint-live@8103"


class Done(Exception):
    """The module ended."""


class Module:
    check_mode = False

    def __init__(self, root, **params):
        self.params = {
            "root": root, "release": "r1", "config": "c1", "files": [], "undo": False, "restore": False,
            "address": "127.0.0.1", "workers": [*OLD, NEW], "fresh": True, "play": False, "ready_seconds": 1, "keep": 3,
        } | params  # fmt: skip

    def exit_json(self, **result):
        raise Done(result)


@pytest.fixture
def decide(tmp_path, monkeypatch):
    """What a switch decides on a host whose workers run with some stamps."""
    (tmp_path / "releases").mkdir()
    (tmp_path / "current").symlink_to("releases/r1")
    served = {"now": {"workers": OLD, "files": {}, "release": "r1"}}
    (tmp_path / "served.json").write_text(json.dumps(served))

    def run(stamps, **params):
        moved = {}

        def switch(self, release, stamp, restart, extra, *, serves):
            moved.update(restart=restart, extra=extra, workers=self.workers)

        def running(self):
            return dict.fromkeys(self.workers, "") | stamps

        monkeypatch.setattr(app_switch.Switch, "running", running)
        monkeypatch.setattr(app_switch.Switch, "switch", switch)
        with pytest.raises(Done) as done:
            app_switch.run(Module(tmp_path, **params))
        return done.value.args[0]["pending"], moved

    return run


def test_a_worker_more_is_started_when_the_edges_know_it(decide):
    same = dict.fromkeys(OLD, "r1-c1")
    assert decide(same, fresh=False) == ("none", {})
    assert decide(same) == ("start", {"restart": [NEW], "extra": [], "workers": [*OLD, NEW]})


def test_a_host_that_rolls_and_gets_a_worker_more_rolls_first(decide):
    old = dict.fromkeys(OLD, "r0-c1")
    assert decide(old)[0] == "grow"
    pending, moved = decide(old, fresh=False)
    assert (pending, moved) == ("grow", {"restart": OLD, "extra": [], "workers": OLD})


def test_a_worker_less_is_stopped_and_a_host_without_news_is_left_alone(decide):
    same = dict.fromkeys(OLD, "r1-c1")
    pending, moved = decide(same, workers=OLD[:2])
    assert (pending, moved["restart"], moved["extra"]) == ("roll", [], [OLD[2]])
    assert decide(same, workers=OLD) == ("none", {})


def test_a_host_that_serves_nobody_starts_all(decide):
    pending, moved = decide({})
    assert (pending, moved["restart"]) == ("start", [*OLD, NEW])


def test_the_way_back_is_patient_with_what_served_before(tmp_path, monkeypatch):
    """The time given to a new release says nothing of the old one, which a busy host may start slowly."""
    (tmp_path / "releases").mkdir()
    monkeypatch.setattr(app_switch, "RELEASE_ENV", tmp_path / "release.env")
    app_switch.RELEASE_ENV.write_text("PYTHONPATH='/opt/releases/r0/lib'\n")
    switch = app_switch.Switch(Module(tmp_path, ready_seconds=1))
    monkeypatch.setattr(switch, "systemctl", lambda *arguments, check=True: "0")
    waited = {}
    monkeypatch.setattr(switch, "restart", lambda workers: waited.update(dict.fromkeys(workers, switch.ready_seconds)))
    before = {"release": "r0", "files": {}, "workers": OLD, "address": "127.0.0.1"}
    assert switch.back(before, [*OLD, NEW]) == "The release before it, r0, serves again."
    assert waited == dict.fromkeys(OLD, app_switch.BACK_SECONDS)
