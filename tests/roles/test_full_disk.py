"""A full disk, at whichever step, leaves nothing that the next deploy takes for whole."""

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import ansible.module_utils
import pytest

from tests.plays import ansible_play
from tests.processes import run
from tests.roles.test_write_files import write
from tests.rules.model import ROOT

ansible.module_utils.__path__.append(str(ROOT / "ansible/plugins/module_utils"))


sys.path.append(str(ROOT / "ansible"))  # what its programs import from each other


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec
    assert spec.loader
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return program


release = load("ansible/release.py")
folders = load("ansible/plugins/module_utils/release_folder.py")
unpacker = load("ansible/plugins/modules/unpack_archive.py")
app_switch = load("roles/app/library/app_switch.py")

CODE = "".join(f"def function_{number}():\n    return {number}\n" for number in range(400))  # 15 kB


@pytest.fixture(autouse=True)
def no_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of this machine may be busy with much else."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sync").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive as release.py makes them: 25 modules of 15 kB and something that is not Python."""
    tree = tmp_path / "tree"
    (tree / "app").mkdir(parents=True)
    for number in range(25):
        (tree / f"app/module_{number}.py").write_text(CODE)
    (tree / "app/empty.txt").touch()
    (tree / "app/page.html").write_bytes(os.urandom(100_000))
    target = tmp_path / "new.tar.zst"
    release.pack(tree, target, {"release": "new", "built": "2026-11-30"})
    return target


class Disk:
    """A file system of its own, of a size that can be changed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def mount(self, kib: int, *, again: bool = False) -> None:
        options = f"{'remount,' if again else ''}size={kib}k"
        done = run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.root])
        if done.returncode:
            pytest.skip(f"this machine lets nobody mount a small disk: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    root = tmp_path / "disk"
    root.mkdir()
    yield Disk(root)
    run(["umount", root])


def unpack(archive: Path, dest: Path) -> None:
    unpacker.unpack(archive, dest, "", ["app"])


def needed_kib(archive: Path, tmp_path: Path) -> dict[str, int]:
    """KiB on a disk at the end of each step."""
    trial = tmp_path / "trial"
    unpack(archive, trial)
    files = [path for path in trial.rglob("*") if path.is_file()]

    def kib(paths: list[Path]) -> int:
        return sum(-(-path.stat().st_size // 4096) * 4 for path in paths)

    compiled = [path for path in files if path.suffix == ".pyc"]
    assert len(compiled) == 25
    return {"unpack": kib([path for path in files if path not in compiled]), "compile": kib(files)}


def test_a_disk_that_is_full_at_any_step_leaves_nothing_and_the_next_run_unpacks(
    archive: Path, disk: Disk, tmp_path: Path
) -> None:
    """The steps: the folder, the first file, one in the middle, the manifest, the first compiled file, the last one."""
    need = needed_kib(archive, tmp_path)
    levels = [4, 8, need["unpack"] // 2, need["unpack"] - 4, need["unpack"] + 8, need["compile"] - 12]
    dest = disk.root / "new"
    for number, kib in enumerate(levels):
        disk.mount(kib, again=number > 0)
        with pytest.raises(unpacker.NotUnpacked, match="No space left"):
            unpack(archive, dest)
        assert list(disk.root.iterdir()) == [], f"{kib} KiB: something stays"
    disk.mount(need["compile"] + 256, again=True)
    unpack(archive, dest)
    assert folders.fault(dest, thorough=True) == ""
    assert len(list(dest.rglob("*.pyc"))) == 25


def test_an_archive_that_is_not_what_its_manifest_says_is_refused(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "tree/app/page.html").write_bytes(os.urandom(100_000))
    release.pack(tmp_path / "tree", archive)
    with pytest.raises(unpacker.NotUnpacked, match=r"app/page.html has another content, so the archive is damaged"):
        unpack(archive, tmp_path / "dest")
    assert not (tmp_path / "dest").exists()


def as_tar_left_it(folder: Path) -> None:
    """What a full disk left of a release that was unpacked in place: empty files, and an empty manifest."""
    for path in (folder / "app/page.html", folder / "manifest.json"):
        path.write_bytes(b"")


def forget_sizes(folder: Path) -> None:
    """The manifest as earlier versions wrote it."""
    about = json.loads((folder / "manifest.json").read_text())
    del about["sizes"]
    (folder / "manifest.json").write_text(json.dumps(about))


def cut(folder: Path) -> None:
    os.truncate(folder / "app/page.html", 10)


def empty_of_old(folder: Path) -> None:
    forget_sizes(folder)
    (folder / "app/page.html").write_bytes(b"")


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty manifest": (as_tar_left_it, "manifest.json is damaged"),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "manifest.json is missing"),
    "no file": (lambda folder: (folder / "app/page.html").unlink(), "app/page.html is missing"),
    "cut off": (cut, "app/page.html is cut off"),
    "empty, without sizes": (empty_of_old, "app/page.html is cut off"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_told_from_a_whole_one_and_replaced(archive: Path, tmp_path: Path, damage: str) -> None:
    dest = tmp_path / "dest"
    unpack(archive, dest)
    assert folders.fault(dest) == ""
    do, told = DAMAGE[damage]
    do(dest)
    assert folders.fault(dest) == told
    unpack(archive, dest)
    assert folders.fault(dest, thorough=True) == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "dest", "new.tar.zst", "new.tar.zst.sig", "tree"]


def test_a_folder_of_an_earlier_version_is_whole(archive: Path, tmp_path: Path) -> None:
    unpack(archive, tmp_path / "dest")
    forget_sizes(tmp_path / "dest")
    assert folders.fault(tmp_path / "dest") == ""


def test_damaged_ones_beside_it_go_but_for_those_in_use(archive: Path, tmp_path: Path) -> None:
    root = tmp_path / "releases"
    root.mkdir()
    for name in ("whole", "in_use", "spoilt", "new"):
        unpack(archive, root / name)
    for name in ("in_use", "spoilt"):
        as_tar_left_it(root / name)
    (root / ".unpacking-1").mkdir()
    (tmp_path / "current").symlink_to("releases/in_use")
    links = [str(tmp_path / "current"), str(tmp_path / "next")]
    expected = {
        "removed": {"spoilt": "manifest.json is damaged"},
        "damaged": {"in_use": "manifest.json is damaged"},
    }
    assert unpacker.sweep(root / "new", "", links, dry=True) == expected
    assert (root / "spoilt").exists()
    assert unpacker.sweep(root / "new", "", links, dry=False) == expected
    assert sorted(path.name for path in root.iterdir()) == ["in_use", "new", "whole"]


def test_releases_are_listed_although_one_is_damaged(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    for name in ("whole", "spoilt", "bare"):
        unpack(archive, tmp_path / "releases" / name)
    as_tar_left_it(tmp_path / "releases/spoilt")
    (tmp_path / "libraries/shared").mkdir(parents=True)
    (tmp_path / "releases/bare/lib").symlink_to("../../libraries/shared")
    about = json.loads((tmp_path / "releases/bare/manifest.json").read_text()) | {"libraries": "shared"}
    (tmp_path / "releases/bare/manifest.json").write_text(json.dumps(about))
    (tmp_path / "served.json").write_text("")  # a lost power supply

    class Module:
        params = {"root": str(tmp_path), "address": "", "workers": [], "files": [], "ready_seconds": 40}

    built, damaged = app_switch.Switch(Module()).releases()
    assert {name: about["built"] for name, about in built.items()} == {"whole": "2026-11-30"}
    assert damaged == {
        "spoilt": "manifest.json is damaged",
        "bare": "its libraries shared are damaged: manifest.json is missing",
    }


def test_a_deploy_says_beforehand_that_there_is_no_room(archive: Path, disk: Disk, tmp_path: Path) -> None:
    disk.mount(2000)
    dest = disk.root / "new"
    task = {"unpack_archive": {"archive": str(archive), "dest": str(dest), "compile": ["app"]}}
    told = ansible_play(tmp_path, task)
    assert f"There is no room for {dest}: {disk.root} has 1 MiB free, and it needs 17. Nothing was changed" in told
    assert list(disk.root.iterdir()) == []
    disk.mount(64_000, again=True)
    dest.mkdir()  # as an earlier version left it
    assert "changed=1" in ansible_play(tmp_path, task, task)
    assert folders.fault(dest, thorough=True) == ""


def test_a_certificate_to_begin_with_is_made_when_there_is_room_again(disk: Disk, tmp_path: Path) -> None:
    disk.mount(4)  # for the key
    role = {"ansible.builtin.import_role": {"name": "certbot", "tasks_from": "placeholder"}}
    settings = {
        "certbot_domain": "pong.example.com", "certbot_email": "ops@example.com",
        "certbot_current": str(disk.root / "current"), "certbot_webroot": str(tmp_path / "acme"),
    }  # fmt: skip
    larger = {"ansible.builtin.command": f"mount -o remount,size=64k {disk.root}"}
    told = ansible_play(tmp_path, {"block": [role], "rescue": [larger]}, role, **settings)
    assert "failed=0" in told, told
    assert "rescued=1" in told, "there was room from the beginning"
    assert all((disk.root / "current" / name).stat().st_size for name in ("fullchain.pem", "privkey.pem"))


def test_files_of_a_role_are_as_they_were_when_one_of_them_finds_no_room(disk: Disk, tmp_path: Path) -> None:
    disk.mount(8)
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_text("old")
    files = [{"path": small, "content": "new"}, {"path": large, "content": "x" * 20_000}]
    answer = write(*files, _ansible_tmpdir=str(disk.root))
    assert answer["failed"]
    assert f"{large} could not be written: No space left on device" in answer["msg"]
    assert (small.read_text(), large.exists()) == ("old", False)
