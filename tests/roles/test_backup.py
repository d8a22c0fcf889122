"""What the backup program decides: which backup, whether there is room, whose store it is, and what is left."""

import configparser
import importlib
import subprocess
import sys
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import yaml

from tests.roles.test_wiring import ROOT, wiring
from tests.rules.model import role_template

LIBRARY = ROOT / "roles/backup/files/usr/local/lib/matchpoint/backup"
SETTINGS = {
    "backup_url": "sftp://pong@backup.example.com:2222/pong/main",
    "backup_host_keys": "# a remark\nbackup.example.com ssh-ed25519 AAAAC3one\n"
    "[x]:22 ecdsa-sha2-nistp256 AAAAE2two= ada@x\n",
    "backup_passphrase": "secret",
}
DAY = 86400


@pytest.fixture(scope="module")
def programs():
    names = ("common", "detached", "backup", "restore")
    sys.path.insert(0, str(LIBRARY))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(LIBRARY))
        for name in names:
            sys.modules.pop(name, None)


@pytest.fixture
def settings(programs, tmp_path):
    data = tmp_path / "17/main"
    (data / "global").mkdir(parents=True)
    (data / "global/pg_control").write_text("old")
    (tmp_path / "state").mkdir()
    (tmp_path / "pgbackrest").mkdir()
    for name in ("pgbackrest.conf", "known_hosts", "id_ed25519"):
        (tmp_path / "pgbackrest" / name).write_text(name)
    return programs.common.Settings(
        stanza="matchpoint", store="pong@backup", public_key="ssh-ed25519 AAAA", data=data, unit="postgresql@17-main",
        programs=tmp_path, port=5432, database="matchpoint", newest="", archive_command="pgbackrest archive-push %p",
        full_days=7, state=tmp_path / "state", metrics=tmp_path / "backup.prom", config=tmp_path / "pgbackrest",
    )  # fmt: skip


def made(kind, stop, size=2**20):
    return {
        "type": kind, "label": f"{kind}-{stop}", "timestamp": {"start": stop - 60, "stop": stop},
        "info": {"size": size, "repository": {"delta": size // 4}}, "error": False,
    }  # fmt: skip


@pytest.fixture
def store(programs, monkeypatch):
    """What the store has; `store.commands` are those that pgBackRest got."""
    now = int(time.time())
    kept = {"db": [{"system-id": 7}], "backup": [made("full", now - 2 * DAY), made("diff", now - DAY)]}
    kept["commands"] = []
    for module in (programs.common, programs.backup, programs.restore):
        monkeypatch.setattr(module, "listed", lambda settings: kept)
    for module in (programs.backup, programs.restore):
        monkeypatch.setattr(module, "is_standby", lambda settings: False)

    def pgbackrest(settings, command, *options, **how):
        kept["commands"].append((command, *options))
        return subprocess.CompletedProcess([], 0, "", "")

    for module in (programs.backup, programs.restore):
        monkeypatch.setattr(module, "pgbackrest", pgbackrest)
    monkeypatch.setattr(programs.backup, "system", lambda settings: "7")
    return kept


def at(seconds):
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ")


def test_configuration_names_the_store_and_pins_its_keys():
    config = configparser.ConfigParser(interpolation=None)
    config.read_string(role_template("backup", "etc/pgbackrest/pgbackrest.conf", **SETTINGS))
    options = config["global"]
    assert options["repo1-sftp-host"] == "backup.example.com"
    assert (options["repo1-sftp-host-port"], options["repo1-sftp-host-user"]) == ("2222", "pong")
    assert (options["repo1-path"], options["repo1-cipher-type"]) == ("/pong/main", "aes-256-cbc")
    known = role_template("backup", "etc/pgbackrest/known_hosts", **SETTINGS).splitlines()
    assert [line for line in known if not line.startswith("#")] == [
        "backup.example.com,[backup.example.com]:2222 ssh-ed25519 AAAAC3one",
        "backup.example.com,[backup.example.com]:2222 ecdsa-sha2-nistp256 AAAAE2two=",
    ]


def test_a_site_without_a_store_has_none_of_it(tmp_path):
    settings = yaml.safe_load((ROOT / "inventories/single/group_vars/all.yml").read_text())
    hosts = {"stored": {}, "bare": {"matchpoint_backup_url": "none"}}
    groups = {group: {"hosts": dict.fromkeys(hosts)} for group in ("db", "cache", "app", "edge", "monitor")}
    inventory = {"all": {"vars": settings, "hosts": hosts, "children": groups}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    for name, host in wiring(tmp_path / "hosts.yml", "base_packages", "host_parts").items():
        assert ("pgbackrest" in host["base_packages"]) is (name == "stored")
        assert ("backup" in host["host_parts"]) is (name == "stored")


def test_a_restore_begins_with_the_last_backup_before_the_moment(programs, settings, store):
    full, diff = store["backup"]
    assert programs.restore.chosen(settings, "") == diff
    assert programs.restore.chosen(settings, at(diff["timestamp"]["stop"] + 60)) == diff
    assert programs.restore.chosen(settings, at(diff["timestamp"]["stop"] - 60)) == full


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("yesterday", "must be like"),
        ("2026-11-28 12:00:00", "no time zone"),
        (at(time.time() + 3600), "yet to come"),
        ("2020-01-01 00:00:00+00", "the oldest backup ended at"),
    ],
)
def test_a_moment_that_cannot_be_had_is_refused_with_the_reason(programs, settings, store, target, told):
    with pytest.raises(programs.common.RefusedError, match=told):
        programs.restore.plan(settings, target)


def test_a_store_without_a_backup_is_refused(programs, settings, store):
    store["backup"] = []
    with pytest.raises(programs.common.RefusedError, match="no backup"):
        programs.restore.plan(settings, "")


def test_a_full_disk_is_seen_before_anything_is_stopped(programs, settings, store):
    store["backup"] = [made("full", int(time.time()) - 60, size=2**60)]
    with pytest.raises(programs.common.RefusedError, match="Nothing was changed"):
        programs.restore.restore(settings, "")
    assert store["commands"] == []


@pytest.mark.parametrize(("age_days", "kind"), [(2, "diff"), (6.8, "full"), (9, "full")])
def test_a_full_backup_is_made_when_the_last_one_is_a_week_old(programs, settings, store, age_days, kind):
    store["backup"] = [made("full", int(time.time() - age_days * DAY))]
    programs.backup.run(settings, "")
    assert store["commands"] == [("backup", f"--type={kind}")]
    assert (
        'matchpoint_backup_last_success_timestamp_seconds{type="full"}' in (settings.state / "metrics.prom").read_text()
    )


def test_another_cluster_backs_up_nothing_and_says_what_to_do(programs, settings, store):
    store["db"] = [{"system-id": 8}]
    with pytest.raises(programs.common.RefusedError, match="make restore"):
        programs.backup.run(settings, "full")
    assert "make restore" in programs.backup.create(settings, "7")[0]
    assert store["commands"] == []


def test_a_first_backup_is_due_where_the_store_has_none_and_not_after_a_promotion(programs, settings, store):
    assert programs.backup.create(settings, "7") == ("", False)
    store["backup"] = []
    assert programs.backup.create(settings, "7") == ("", True)
    assert set(store["commands"]) == {("stanza-create", "--log-level-console=warn")}


def test_a_store_that_was_made_anew_gets_a_full_backup(programs, settings, store):
    store["db"], store["backup"] = [], []
    programs.backup.run(settings, "")
    assert [command for command, *_ in store["commands"]] == ["stanza-create", "backup"]
    assert store["commands"][-1] == ("backup", "--type=full")


def test_a_store_that_refuses_is_told_with_the_key_to_let_in(programs, settings, store, monkeypatch):
    monkeypatch.setattr(programs.backup, "pgbackrest", failing(programs))
    with pytest.raises(programs.common.RefusedError, match="ssh-ed25519 AAAA"):
        programs.backup.create(settings, "7")


@pytest.mark.parametrize("name", ["pgbackrest.conf", "known_hosts", "id_ed25519"])
def test_a_store_is_asked_again_when_the_way_into_it_is_another(programs, settings, store, monkeypatch, name):
    """A deploy with a new key or passphrase ended well, and nothing was archived any more."""
    monkeypatch.setattr(programs.backup, "system", lambda settings: "7")
    monkeypatch.setattr(programs.backup, "ask", lambda settings, sql: settings.archive_command)
    assert programs.backup.prepare(settings)["state"] == "ready"
    monkeypatch.setattr(programs.backup, "pgbackrest", failing(programs))
    assert programs.backup.prepare(settings)["state"] == "ready"  # asks nothing
    (settings.config / name).write_text("another")
    with pytest.raises(programs.common.RefusedError, match="ssh-ed25519 AAAA"):
        programs.backup.prepare(settings)


def test_a_standby_makes_no_backup(programs, settings, store, monkeypatch, capsys):
    monkeypatch.setattr(programs.backup, "is_standby", lambda settings: True)
    programs.backup.run(settings, "")
    assert store["commands"] == []
    assert "standby" in capsys.readouterr().out


@pytest.fixture
def unit(programs, monkeypatch):
    """What systemd was told; nothing is started."""
    told = []
    monkeypatch.setattr(programs.restore, "systemctl", lambda verb, unit: told.append(verb))
    monkeypatch.setattr(programs.restore, "RESERVE_BYTES", 0)
    monkeypatch.setattr(programs.restore, "make_folder", lambda path: path.mkdir())
    monkeypatch.setattr(programs.restore, "ask", lambda settings, sql: "0/1")
    return told


def failing(programs):
    def refuse(*arguments, **how):
        raise programs.common.RefusedError("the store is gone")

    return refuse


def test_a_restore_that_fails_leaves_what_there_was(programs, settings, store, unit, monkeypatch):
    monkeypatch.setattr(programs.restore, "pgbackrest", failing(programs))
    with pytest.raises(programs.common.RefusedError, match="in place again"):
        programs.restore.restore(settings, "")
    assert (settings.data / "global/pg_control").read_text() == "old"
    assert [path.name for path in settings.data.parent.iterdir()] == ["main"]
    assert unit[-1] == "start"


def test_a_restore_keeps_the_data_of_before_and_only_those(programs, settings, store, unit):
    (settings.data.parent / "main.before-restore-20260101T000000Z").mkdir()
    answer = programs.restore.restore(settings, "")
    kept = [path for path in settings.data.parent.iterdir() if path != settings.data]
    assert [str(path) for path in kept] == [answer["kept"]]
    assert (kept[0] / "global/pg_control").read_text() == "old"


def test_what_a_killed_restore_left_is_not_taken_for_the_data(programs, settings, store, unit):
    aside = settings.data.parent / "main.before-restore-20260101T000000Z"
    settings.data.rename(aside)
    settings.data.mkdir()
    answer = programs.restore.restore(settings, "")
    assert answer["kept"] == str(aside)
    assert (aside / "global/pg_control").read_text() == "old"


def test_what_the_copy_must_have_is_never_later_than_the_transaction_that_marks_it(programs, settings, monkeypatch):
    """However long each question takes; else a slow host is told that its log has a gap."""
    clock, committed = [1000.0], []

    def ask(settings, sql, **where):
        clock[0] += 30
        if "emit_message" in sql:
            committed.append(clock[0])
        return str(clock[0]) if "clock" in sql else "0" * 24 if "walfile" in sql and "archived" not in sql else "t"

    monkeypatch.setattr(programs.restore, "ask", ask)
    assert programs.restore.mark(settings) <= committed[0]


def test_a_test_that_fails_is_a_metric_and_leaves_no_copy(programs, settings, store, monkeypatch):
    monkeypatch.setattr(programs.restore, "RESERVE_BYTES", 0)
    monkeypatch.setattr(programs.restore, "mark", failing(programs))
    settings.scratch.mkdir()
    with pytest.raises(programs.common.RefusedError):
        programs.restore.test(settings)
    assert "matchpoint_restore_test_last_result 0" in (settings.state / "metrics.prom").read_text()
    assert not settings.scratch.exists()


@pytest.fixture
def background(programs, monkeypatch):
    """Whether the unit of a restore runs, and what systemd was asked to run; nothing is started."""
    background = SimpleNamespace(is_running=False, begun=[])

    def run(command, **how):
        background.begun.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(programs.detached, "is_running", lambda: background.is_running)
    monkeypatch.setattr(programs.detached, "subprocess", SimpleNamespace(run=run))
    return background


def test_a_restore_is_begun_once_and_waited_for_by_whoever_comes_again(programs, settings, store, unit, background):
    assert programs.detached.begin(settings, "") == {"changed": True}
    background.is_running = True
    assert programs.detached.begin(settings, "") == {"changed": False}
    assert "waits for it" in programs.restore.plan(settings, "")["told"]
    background.is_running = False
    answer = programs.restore.answered(settings, "")
    assert programs.detached.wait(settings) == answer
    # A playbook that was ended before the game ran again goes on from there, and does not restore again
    assert "goes on from there" in programs.restore.plan(settings, "")["told"]
    assert programs.detached.begin(settings, "") == {"changed": False}
    assert programs.detached.begin(settings, at(time.time() - DAY / 2)) == {"changed": True}
    assert len(background.begun) == 2


def test_a_site_that_has_gone_on_is_restored_anew(programs, settings, store, unit, background, monkeypatch):
    programs.restore.answered(settings, "")
    monkeypatch.setattr(programs.backup, "archive", lambda settings, changed: {"changed": changed})
    programs.backup.prepare(settings)
    assert programs.detached.begin(settings, "") == {"changed": True}


def test_whoever_waits_is_told_why_nothing_was_restored(programs, settings, store, unit, background, monkeypatch):
    with pytest.raises(programs.common.RefusedError, match="before it was done"):
        programs.detached.wait(settings)  # killed, or the host was rebooted
    monkeypatch.setattr(programs.restore, "pgbackrest", failing(programs))
    with pytest.raises(programs.common.RefusedError):
        programs.restore.answered(settings, "")
    with pytest.raises(programs.common.RefusedError, match="in place again"):
        programs.detached.wait(settings)
    assert programs.detached.begin(settings, "") == {"changed": True}


def test_a_restore_that_was_killed_between_two_steps_is_done_again(programs, settings, store, unit):
    aside = settings.data.parent / "main.before-restore-20260101T000000Z"
    settings.data.rename(aside)
    assert programs.restore.restore(settings, "")["kept"] == str(aside)
