"""A cluster is made where there is none, whatever lies in its way; nothing with data in it is touched."""

import importlib.util
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.rules.model import ROOT


def module(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"roles/postgres/library/{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


maker, looker = module("postgres_cluster"), module("postgres_state")


@pytest.fixture
def host(tmp_path, monkeypatch):
    """Folders of a host, and programs that make what PostgreSQL's would; ``killed`` names one that never ends."""
    host = SimpleNamespace(
        data=tmp_path / "data/17/main", conf=tmp_path / "conf/17/main", killed="", units={}, calls=[]
    )
    for loaded in (maker, looker):
        monkeypatch.setattr(loaded, "DATA", tmp_path / "data")
        monkeypatch.setattr(loaded, "CONFIGURATION", tmp_path / "conf")

    def run(cluster, *command):
        what = Path(command[4] if command[0] == "runuser" else command[0]).name
        host.calls.append(command)
        if what == "install":
            Path(command[-1]).mkdir(parents=True, exist_ok=True)
        elif what == "initdb":
            make_data(cluster.making)
        else:
            host.conf.mkdir(parents=True, exist_ok=True)
            (host.conf / "postgresql.conf").write_text("port = 5432\n")
        if what == host.killed:
            raise KeyboardInterrupt
        if what == "pg_createcluster":
            (host.conf / "postgresql.conf").write_text("port = 5432\ninclude_dir = 'conf.d'\n")

    monkeypatch.setattr(maker.Cluster, "run", run)
    monkeypatch.setattr(looker.Cluster, "unit", lambda self, name, unit="": host.units.get(unit, "inactive"))
    return host


def make_data(folder: Path, *databases: str) -> None:
    for name in ("global", *(f"base/{number}" for number in ("1", *databases))):
        (folder / name).mkdir(parents=True)
    (folder / "PG_VERSION").write_text("17\n")
    (folder / "global/pg_control").touch()


def cluster():
    return maker.Cluster("17/main", "C.UTF-8")


def state(port: int = 5432) -> dict:
    found = looker.Cluster(SimpleNamespace(params={"cluster": "17/main", "port": port, "listen_seconds": 0}))
    return {"fault": found.fault(), "kept": found.kept(), "is_virgin": found.is_virgin()}


def test_a_cluster_is_made_with_a_stated_locale(host):
    assert cluster().make() == []
    assert cluster().is_whole()
    (initdb,) = [command for command in host.calls if any("initdb" in word for word in command)]
    assert {"--locale=C.UTF-8", "--encoding=UTF8", "--data-checksums"} <= set(initdb)
    assert state()["fault"] == ""


@pytest.mark.parametrize("program", ["initdb", "pg_createcluster"])
def test_what_a_kill_left_is_made_anew(host, program):
    host.killed = program
    with pytest.raises(KeyboardInterrupt):
        cluster().make()
    assert not cluster().is_whole()
    assert (state()["fault"], state()["is_virgin"]) == ("", True)
    host.killed = ""
    cluster().make()
    assert cluster().is_whole()
    assert not cluster().making.exists()


def test_a_configuration_without_data_is_moved_aside(host):
    host.conf.mkdir(parents=True)
    (host.conf / "postgresql.conf").write_text("include_dir = 'conf.d'\n# of a package that is gone\n")
    (aside,) = cluster().make()
    assert "package that is gone" in (Path(aside) / "postgresql.conf").read_text()
    assert not Path(aside).is_relative_to(maker.CONFIGURATION)
    assert cluster().is_whole()


def test_data_are_never_made_anew(host):
    make_data(host.data, "16384")
    with pytest.raises(maker.Wrong, match="has databases"):
        cluster().make()
    assert (host.data / "base/16384").is_dir()


def test_a_whole_cluster_is_left_alone(host):
    cluster().make()
    assert cluster().is_whole()
    make_data(host.data.with_name("other"), "16384")
    assert cluster().is_whole()


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ("data/17/main/global/pg_control", ["is incomplete", "main.before-restore-20260101T000000Z", "make restore"]),
        ("conf/17/main", ["there is no configuration", "pg_createcluster 17 main"]),
    ],
)
def test_half_a_cluster_with_data_is_told_by_name(host, tmp_path, lost, told):
    cluster().make()
    (host.data / "base/16384").mkdir()
    assert state()["fault"] == ""
    host.data.with_name("main.before-restore-20260101T000000Z").mkdir()
    shutil.rmtree(tmp_path / lost) if (tmp_path / lost).is_dir() else (tmp_path / lost).unlink()
    assert [words for words in [*told, str(host.data)] if words not in state()["fault"]] == []


def test_a_restore_that_goes_on_in_the_background_is_waited_for(host):
    cluster().make()
    host.units = {"matchpoint-restore.service": "active"}
    assert "make restore" in state()["fault"]


@pytest.mark.parametrize(
    ("start", "port", "is_told"),
    [("auto", "5432", True), ("manual", "5432", False), ("auto", "5433", False), (None, None, True)],
)
def test_another_cluster_that_would_take_the_port_is_told_by_name(host, start, port, is_told):
    cluster().make()
    other = host.conf.with_name("other")
    other.mkdir()
    (other / "postgresql.conf").write_text(f"port = {port}\n" if port else "#port = 5432\n")
    if start:
        (other / "start.conf").write_text(f"# how it starts\n{start}\n")
    assert ("pg_dropcluster --stop 17 other" in state()["fault"]) == is_told
    assert state(port=0)["fault"] == ""
