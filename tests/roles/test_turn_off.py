"""What left the inventory leaves the host: what the manifest knows, and what module turn_off makes of it."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.roles.test_full_disk import load
from tests.rules.model import ROOT

turn_off = load("ansible/plugins/modules/turn_off.py")
from ansible.module_utils import host_cleaning, host_manifest, host_uninstall  # noqa: E402 - ours are among them now

DATA = host_manifest.DATA
BARE = {"packages": ["bash"], "users": ["root"], "groups": ["root"]}


class Machine:
    """A host in a folder: its units are what systemctl lists, and what is done to them is noted."""

    def __init__(self, root: Path, units: tuple[str, ...] = (), *, primary: bool = False) -> None:
        self.root, self.units, self.primary = root, units, primary
        self.check_mode, self._diff, self.done = False, False, []
        self.params: dict[str, Any] = {"roles": [], "units": [], "packages": [], "delete_data": False}

    def run_command(self, words: list[str], **_: Any) -> tuple[int, str, str]:
        match words:
            case ["systemctl", "list-units", *_, pattern]:
                found = [unit for unit in self.units if Path(unit).match(pattern)]
                return 0, "".join(f"{unit} loaded active running x\n" for unit in found), ""
            case ["systemctl", "is-active", *_]:
                return int(not self.primary), "", ""
            case ["systemctl", "show", *_, unit]:
                return 0, f"/usr/lib/systemd/system/{unit}\n", ""
            case ["dpkg-query", "--search", path]:
                return 0, f"{Path(path).stem}: {path}\n", ""
        self.done.append(" ".join(words))
        return 0, "", ""


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    run = tmp_path / "run"
    run.mkdir()
    (run / "deploy.lock").write_text(json.dumps({"token": "this run"}))
    for name in ("packages", "users", "groups"):
        monkeypatch.setattr(host_manifest, name, lambda name=name: BARE[name])
    for module in (host_cleaning, host_uninstall):
        monkeypatch.setattr(module, "UNITS", tmp_path / "units")
    (tmp_path / "units").mkdir()
    made = host_manifest.Manifest(tmp_path / "manifest", run)
    made.begin([tmp_path / "no trace"])
    return made


def wrote(manifest: Any, role: str, *paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("ours\n")
    manifest.note(role, [str(path) for path in paths])


def sweep(manifest: Any, machine: Machine, *roles: str, units: tuple[str, ...] = ()) -> Any:
    machine.params |= {"roles": list(roles), "units": list(units), "whole": ["app", "alertmanager", "nginx"]}
    host = host_cleaning.Host(machine, manifest)
    turn_off.sweep(host)
    return SimpleNamespace(**host.told)


def test_what_each_role_writes_again_stays(manifest: Any, tmp_path: Path) -> None:
    wrote(manifest, "app", tmp_path / "etc/app")
    wrote(manifest, "nginx", tmp_path / "etc/nginx")
    told = sweep(manifest, Machine(tmp_path), "app", "nginx")
    assert (told.removed, told.stopped) == ([], [])
    assert (tmp_path / "etc/app").exists()


def test_a_role_that_left_is_stopped_with_the_instances_of_its_templates_and_removed(
    manifest: Any, tmp_path: Path
) -> None:
    units = tmp_path / "units"
    wrote(manifest, "app", units / "game@.service", units / "game.timer", units / "game.service", tmp_path / "etc/app")
    wrote(manifest, "nginx", units / "nginx.service.d/matchpoint.conf")
    (units / "nginx.service.d/started-with").touch()
    machine = Machine(tmp_path, ("game@1.service", "game@2.service", "game.timer", "game.service", "nginx.service"))
    told = sweep(manifest, machine, "nginx", units=(r"nginx\.service",))
    assert told.stopped == ["game.timer", "game.service", "game@1.service", "game@2.service"]
    assert machine.done[:2] == ["systemctl disable --now game.timer", "systemctl stop game.timer"]
    assert machine.done[-1] == "systemctl daemon-reload"
    assert sorted(path.name for path in units.rglob("*")) == ["matchpoint.conf", "nginx.service.d", "started-with"]
    assert list(manifest.files()) == [str(units / "nginx.service.d/matchpoint.conf")]
    told = sweep(manifest, Machine(tmp_path), units=())
    assert told.removed == [str(units / "nginx.service.d/matchpoint.conf")], "the next time the last role leaves"
    assert list(units.iterdir()) == [], "with what was noted beside its drop-in"


def test_what_is_not_the_sites_own_is_not_stopped(
    manifest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host's sshd, and an nginx that was there before."""
    monkeypatch.setitem(BARE, "packages", ["bash", "nginx"])
    (manifest.folder / "files.json").unlink()
    manifest.begin([])
    names = ("ssh", "nginx", "haproxy")
    wrote(manifest, "base", *(tmp_path / f"units/{name}.service.d/matchpoint.conf" for name in names))
    told = sweep(manifest, Machine(tmp_path, ("ssh.service", "nginx.service", "haproxy.service")))
    assert told.stopped == ["haproxy.service"]
    assert len(told.removed) == 3


def test_units_that_roles_publish_can_be_stopped() -> None:
    """Those of packages are known by their names; the role's own by their files."""
    unknown = []
    for path in ROOT.glob("roles/*/meta/publish.yml"):
        for units in re.findall(r"^ *units: \[(.*)\]", path.read_text(), re.MULTILINE):
            names = [name.strip(' "') for name in units.split(",")]
            unknown += [
                name
                for name in names
                if not name.startswith("matchpoint-") and not host_cleaning.PACKAGED.fullmatch(name)
            ]
    assert not unknown


def test_what_a_role_stops_writing_goes_and_its_service_goes_on(manifest: Any, tmp_path: Path) -> None:
    """A receiver's secret, a drop-in that a later version has no more: the role is there, and so is its unit."""
    dropin, old = (tmp_path / f"units/alertmanager.service.d/{name}.conf" for name in ("matchpoint", "old"))
    wrote(manifest, "alertmanager", dropin, old, tmp_path / "etc/secrets/slack-url")
    (tmp_path / "run/deploy.lock").write_text(json.dumps({"token": "the next run"}))
    wrote(manifest, "alertmanager", dropin)
    told = sweep(manifest, Machine(tmp_path, ("alertmanager.service",)), "alertmanager")
    assert told.removed == [str(tmp_path / "etc/secrets/slack-url"), str(old)]
    assert told.stopped == []
    assert dropin.exists()


def test_a_role_that_had_no_say_in_this_run_keeps_all(manifest: Any, tmp_path: Path) -> None:
    """One that was left out, and in check mode all of them, because nothing is marked without a lock."""
    wrote(manifest, "app", tmp_path / "etc/app")
    (tmp_path / "run/deploy.lock").write_text(json.dumps({"token": "the next run"}))
    assert sweep(manifest, Machine(tmp_path), "app").removed == []
    (tmp_path / "run/deploy.lock").unlink()
    wrote(manifest, "app")
    assert sweep(manifest, Machine(tmp_path), "app").removed == []


def test_what_a_role_writes_at_moments_only_stays(manifest: Any, tmp_path: Path) -> None:
    """start.conf of a database that was handed over to Patroni, long ago: without it two servers would start."""
    wrote(manifest, "postgres", tmp_path / "start.conf")
    (tmp_path / "run/deploy.lock").write_text(json.dumps({"token": "the next run"}))
    wrote(manifest, "postgres", tmp_path / "settings.conf")
    assert sweep(manifest, Machine(tmp_path), "postgres").removed == []


def test_a_member_of_a_quorum_is_left_alone(manifest: Any, tmp_path: Path) -> None:
    wrote(manifest, "etcd", tmp_path / "units/etcd.service.d/matchpoint.conf")
    told = sweep(manifest, Machine(tmp_path, ("etcd.service",)), "postgres")
    assert (told.stopped, told.removed, len(told.kept)) == ([], [], 1)


def test_check_mode_tells_what_a_role_that_left_would_take_along(manifest: Any, tmp_path: Path) -> None:
    wrote(manifest, "app", tmp_path / "units/game.service")
    (tmp_path / "units/game.service.d").mkdir()
    (tmp_path / "units/game.service.d/loaded").touch()
    machine = Machine(tmp_path, ("game.service",))
    machine.check_mode = True
    told = sweep(manifest, machine, "nginx")
    assert (told.removed, told.stopped) == ([str(tmp_path / "units/game.service")], ["game.service"])
    assert (machine.done, list(manifest.files())) == ([], [str(tmp_path / "units/game.service")])
    assert (tmp_path / "units/game.service").exists()
    machine.check_mode = False
    sweep(manifest, machine, "nginx")
    assert list((tmp_path / "units").iterdir()) == []


@pytest.mark.parametrize("primary", [True, False])
def test_a_database_that_is_no_standby_is_left_alone_with_its_backups(
    manifest: Any, tmp_path: Path, primary: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn_off, "STANDBY", tmp_path / "standby.signal")
    wrote(manifest, "postgres", tmp_path / "units/postgresql@17-main.service.d/matchpoint.conf")
    wrote(manifest, "backup", tmp_path / "units/matchpoint-backup.timer")
    wrote(manifest, "app", tmp_path / "etc/app")
    units = ("postgresql@17-main.service", "matchpoint-backup.timer")
    told = sweep(manifest, Machine(tmp_path, units, primary=primary), "nginx")
    assert told.stopped == ([] if primary else ["matchpoint-backup.timer", "postgresql@17-main.service"])
    assert bool(told.kept) == primary
    assert not (tmp_path / "etc/app").exists()


def test_a_file_of_before_comes_back(manifest: Any, tmp_path: Path) -> None:
    path = tmp_path / "etc/settings.conf"
    path.parent.mkdir()
    path.write_text("theirs\n")
    path.chmod(0o640)
    manifest.keep(path)
    wrote(manifest, "base", path)
    manifest.keep(path)  # it is ours now
    sweep(manifest, Machine(tmp_path))
    assert path.read_text() == "theirs\n"
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_that_leads_nowhere_comes_back_as_it_was(manifest: Any, tmp_path: Path) -> None:
    path = tmp_path / "locale"
    path.symlink_to("../nowhere")
    manifest.keep(path)
    path.unlink()
    assert host_cleaning.Host(Machine(tmp_path), manifest).put_back(path)
    assert str(path.readlink()) == "../nowhere"


def test_a_run_that_is_stopped_half_way_and_repeated_takes_nothing_of_before(manifest: Any, tmp_path: Path) -> None:
    path = tmp_path / "settings.conf"
    path.write_text("theirs\n")
    manifest.keep(path)
    wrote(manifest, "base", path)
    for _ in range(2):  # the first one put it back, and noted nothing any more
        host_cleaning.Host(Machine(tmp_path), manifest).remove([str(path)])
    assert path.read_text() == "theirs\n"
    manifest.note("", [], [str(path)])
    path.write_text("theirs, of later\n")
    manifest.keep(path)
    wrote(manifest, "base", path)
    sweep(manifest, Machine(tmp_path))
    assert path.read_text() == "theirs, of later\n"


def test_a_run_that_was_killed_after_writing_does_not_take_its_own_file_for_theirs(
    manifest: Any, tmp_path: Path
) -> None:
    path = tmp_path / "etc/settings.conf"
    path.parent.mkdir()
    path.write_text("theirs\n")
    manifest.keep(path)
    path.write_text("ours\n")  # and not noted
    manifest.keep(path)
    wrote(manifest, "base", path)
    sweep(manifest, Machine(tmp_path))
    assert path.read_text() == "theirs\n"


def test_a_site_of_before_the_manifest_is_not_taken_for_a_bare_host(tmp_path: Path) -> None:
    (tmp_path / "app.env").touch()
    (tmp_path / "run").mkdir()
    manifest = host_manifest.Manifest(tmp_path / "manifest", tmp_path / "run")
    manifest.begin([tmp_path / "app.env"])
    assert manifest.bare() == {}
    (tmp_path / "old").write_text("of the version before")
    manifest.keep(tmp_path / "old")
    assert not manifest.before(tmp_path / "old").exists()


def test_nothing_is_taken_from_a_host_without_a_manifest(tmp_path: Path) -> None:
    host = host_cleaning.Host(Machine(tmp_path), host_manifest.Manifest(tmp_path / "none", tmp_path))
    with pytest.raises(host_cleaning.Wrong, match="make deploy"):
        host_uninstall.uninstall(host)


@pytest.mark.parametrize("needs", [False, True])
def test_packages_of_others_stay_and_the_rest_goes(
    manifest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needs: bool
) -> None:
    """A new kernel and another's dependency are automatic and new as well; shop may need nginx."""
    there = ["bash", "nginx", "libx", "mtail", "shop", "containerd", "linux-image-6.12.9", "sudo"]
    monkeypatch.setattr(host_uninstall, "packages", lambda: there)
    machine = Machine(tmp_path)

    def say(words: list[str], **_: Any) -> tuple[int, str, str]:
        if words[0] == "apt-mark":
            return 0, "libx\ncontainerd\nlinux-image-6.12.9\n", ""
        gone = set(words) & set(there)
        assert "sudo" not in gone
        gone |= {"shop"} if needs and "nginx" in gone else set()
        gone |= {"libx"} if "--auto-remove" in words else set()
        gone |= {"linux-image-6.12.9"} if {"--auto-remove", "autoremove"} & set(words) else set()
        return 0, "".join(f"Purg {name} [1]\n" for name in gone), ""

    monkeypatch.setattr(machine, "run_command", say)
    host = host_cleaning.Host(machine, manifest)
    ours = host_uninstall.removable(host, ["bash"], ["nginx", "mtail", "sudo"])
    assert ours == (["libx", "mtail"] if needs else ["libx", "mtail", "nginx"])
    assert ("the package nginx, which shop needs" in host.told["kept"]) == needs


@pytest.mark.parametrize("noted", [True, False])
def test_data_of_before_stay(manifest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted: bool) -> None:
    """Of letsencrypt the site's own certificates go; a manifest that has no such note keeps all."""
    old, new = str(tmp_path / "letsencrypt"), str(tmp_path / "valkey")
    for path in (f"{old}/live/matchpoint-1", f"{old}/live/shop", new):
        Path(path).mkdir(parents=True)
    for module in (host_uninstall, host_manifest):
        monkeypatch.setattr(module, "DATA", (old, new))
        monkeypatch.setattr(module, "LOGS", ())
    monkeypatch.setattr(host_uninstall, "LETSENCRYPT", old)
    other = tmp_path / "postgresql/17/other"
    other.mkdir(parents=True)
    monkeypatch.setattr(host_uninstall, "CLUSTERS", f"{tmp_path}/postgresql/*/*")
    assert host_manifest.filled() == [old], "an empty one is nobody's"
    host = host_cleaning.Host(Machine(tmp_path), manifest)
    theirs, data = host_uninstall.of_before(host, BARE | ({"paths": [old]} if noted else {}))
    assert theirs == {old, str(other)} | (set() if noted else {new})
    assert data == [Path(path) for path in ([new] if noted else []) + [f"{old}/live/matchpoint-1"]]


def test_what_a_restore_put_aside_is_the_sites(manifest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("main", "main.before-restore-20261201T050000Z"):
        (tmp_path / "postgresql/17" / name / "base").mkdir(parents=True)
    for module in (host_uninstall, host_manifest):
        monkeypatch.setattr(module, "DATA", tuple(f"{tmp_path}{path.removeprefix('/var/lib')}" for path in DATA[:2]))
        monkeypatch.setattr(module, "LOGS", ())
    monkeypatch.setattr(host_uninstall, "CLUSTERS", f"{tmp_path}/postgresql/*/*")
    host = host_cleaning.Host(Machine(tmp_path), manifest)
    theirs, data = host_uninstall.of_before(host, BARE | {"paths": []})
    assert not theirs, "whose packages could not be purged"
    assert [path.name for path in data] == ["main", "main.before-restore-20261201T050000Z"]


def test_pages_of_others_stay(tmp_path: Path) -> None:
    for name in ("index.nginx-debian.html", "shop.html"):
        (tmp_path / name).touch()
    host_uninstall.clear_welcome(tmp_path)
    assert (tmp_path / "shop.html").exists()
    (tmp_path / "shop.html").unlink()
    host_uninstall.clear_welcome(tmp_path)
    assert not tmp_path.exists()


def test_users_and_groups_go_unless_something_of_theirs_was_kept(
    manifest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And only those that are known to come with the site: others came after it."""
    monkeypatch.setattr(host_uninstall, "KEPT", tmp_path)
    monkeypatch.setattr(host_uninstall, "CLUSTERS", f"{tmp_path}/none/*")
    monkeypatch.setattr(host_uninstall, "users", lambda: ["root", "postgres", "mtail", "shop", "matchpoint-shop"])
    monkeypatch.setattr(host_uninstall, "groups", lambda: ["root", "postgres", "ssl-cert", "matchpoint-live", "shop"])
    machine = Machine(tmp_path)

    def say(words: list[str], **_: Any) -> tuple[int, str, str]:
        machine.done.append(" ".join(words[:2]))
        return 0, "postgres\npostgres\n" if words[0] == "find" else "", ""

    monkeypatch.setattr(machine, "run_command", say)
    host = host_cleaning.Host(machine, manifest)
    host_uninstall.delete_users(host, BARE)
    assert machine.done[1:] == ["userdel mtail", "groupdel matchpoint-live", "groupdel ssl-cert"]
    assert host.told["kept"] == ["the user postgres, whose data were kept"]


def test_a_file_that_a_package_takes_along_is_put_back(manifest: Any, tmp_path: Path) -> None:
    path = tmp_path / "etc/locale"
    path.parent.mkdir()
    path.write_text("theirs\n")
    manifest.keep(path)
    path.unlink()
    host_cleaning.Host(Machine(tmp_path), manifest).put_back(path)
    assert path.read_text() == "theirs\n"
