"""A release is one for all hosts; its libraries are those of each host's machine."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.roles.test_full_disk import release as program
from tests.rules.model import ROOT


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, and a uv that installs the name of the platform."""
    really_run = program.run

    def run(*command: Any, **options: Any) -> str:
        if "install" in command:
            package = Path(command[command.index("--target") + 1], "package")
            package.mkdir(parents=True)
            (package / "platform.py").write_text(command[command.index("--python-platform") + 1])
            return ""
        return "locked==1\n" if "export" in command else really_run(*command, **options)

    def static_collect(app: Path, static: Path) -> None:
        static.mkdir()
        (static / "page.css").touch()

    monkeypatch.setattr(program, "run", run)
    monkeypatch.setattr(program, "static_collect", static_collect)
    monkeypatch.setattr(program, "CACHE", tmp_path)
    monkeypatch.setattr(program, "LIBRARIES", tmp_path / "libraries")
    return tmp_path


def test_each_machine_gets_its_own_libraries_of_the_same_release(cache: Path) -> None:
    name = program.build(["aarch64", "x86_64"])
    archive = cache / f"{name}.tar.zst"
    for machine in ("aarch64", "x86_64"):
        libraries = program.libraries_archive(archive, machine)
        said = program.run("tar", "--extract", "--to-stdout", "--file", libraries, "package/platform.py")
        assert said == f"{machine}-manylinux_2_28"
    assert program.build(["x86_64"]) == name
    assert program.libraries_archive(archive, "riscv64") == ""


def test_the_manifest_tells_version_and_commit_and_a_version_is_another_release(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = {"version": "1.2.3", "commit": "a" * 40, "changes": False}
    monkeypatch.setattr(program, "checkout", lambda: origin)

    def built() -> dict[str, Any]:
        archive = cache / f"{program.build(['x86_64'])}.tar.zst"
        return json.loads(program.run("tar", "--extract", "--to-stdout", "--file", archive, "manifest.json"))

    first = built()
    assert {key: first[key] for key in origin} == origin
    origin["commit"] = "b" * 40
    assert built() == first, "a commit that changes nothing of the game moves no worker"
    origin["version"] = "1.2.4"
    assert built()["release"] != first["release"]
    copied = cache / "app"
    shutil.copytree(program.APP, copied, ignore=program.LEFT_OUT)
    monkeypatch.setattr(program, "APP", copied)
    assert program.origin()["changes"], "what is not this checkout's app is not what the commit has"


def test_libraries_of_an_earlier_release_are_for_the_machine_that_it_names(cache: Path) -> None:
    (cache / "tree").mkdir()
    program.pack(cache / "tree", cache / "old.tar.zst", {"libraries": "shared", "machine": "x86_64"})
    (cache / "libraries").mkdir()
    (cache / "libraries/shared.tar.zst").touch()
    assert program.libraries_archive(cache / "old.tar.zst", "x86_64") == str(cache / "libraries/shared.tar.zst")
    assert program.libraries_archive(cache / "old.tar.zst", "aarch64") == ""


def test_the_wiring_gives_each_host_the_libraries_of_its_machine() -> None:
    from ansible.parsing.dataloader import DataLoader
    from ansible.template import Templar, trust_as_template

    loader = DataLoader()
    wiring = loader.load_from_file(str(ROOT / "ansible/group_vars/all/main.yml"), trusted_as_template=True)
    build = '{"release": "new", "archive": "/new", "libraries": {"x86_64": "/cache/a-x86_64.tar.zst", "aarch64": "/b"}}'
    settings = {"release_build": {"stdout": build}, "ansible_facts": {"architecture": "x86_64"}}
    app = loader.load_from_file(str(ROOT / "roles/app/vars/main.yml"), trusted_as_template=True)
    names = ("release_built", "app_libraries")
    values = {name: wiring[name] for name in names} | {name: app[name] for name in ("__app_root", "__app_libraries")}
    templar = Templar(loader=loader, variables=values | settings)
    assert templar.template(trust_as_template("{{ app_libraries }}")) == "/cache/a-x86_64.tar.zst"
    assert templar.template(trust_as_template("{{ __app_libraries }}")) == "/opt/matchpoint/libraries/a"
