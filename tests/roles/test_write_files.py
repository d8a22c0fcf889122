"""Many files in one exchange: what module write_files makes of a folder."""

import getpass
import grp
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.processes import run
from tests.rules.model import ROOT

PLUGINS = ROOT / "ansible/plugins"
# As on a host, where its module_utils are among Ansible's
MODULE = f"""
import runpy, ansible.module_utils
ansible.module_utils.__path__.append("{PLUGINS}/module_utils")
runpy.run_path("{PLUGINS}/modules/write_files.py", run_name="__main__")
"""
OURS = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}


def write(*files: dict[str, Any], **options: Any) -> dict[str, Any]:
    """What the module answers."""
    arguments = OURS | {"files": [one | {"path": str(one["path"])} for one in files]} | options
    done = run([sys.executable, "-c", MODULE], stdin=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}), umask=0o077)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_files_and_the_folders_above_them_are_made_once(tmp_path: Path) -> None:
    settings = {"path": tmp_path / "etc/app/settings", "content": "a = 1\n"}
    program = {"path": tmp_path / "bin/run", "content": "ünïcode\n", "mode": "0755"}
    state = {"path": tmp_path / "state", "state": "directory", "mode": "0700"}
    first = write(settings, program, state)
    assert first["changed_paths"] == [str(one["path"]) for one in (settings, program, state)]
    assert settings["path"].read_text() == "a = 1\n"
    assert [mode(path) for path in (settings["path"], program["path"], state["path"])] == [0o644, 0o755, 0o700]
    assert [mode(folder) for folder in (tmp_path / "etc", tmp_path / "etc/app", tmp_path / "bin")] == [0o755] * 3
    again = write(settings, program, state)
    assert (again["changed"], again["changed_paths"]) == (False, [])
    assert again["checksums"] == first["checksums"]


def test_only_what_differs_is_changed_be_it_content_or_mode(tmp_path: Path) -> None:
    one, two, three = ({"path": tmp_path / name, "content": name} for name in ("one", "two", "three"))
    before = write(one, two, three)
    (tmp_path / "two").write_text("by hand")
    (tmp_path / "three").chmod(0o666)
    after = write(one, two, three)
    assert after["changed_paths"] == [str(tmp_path / "two"), str(tmp_path / "three")]
    assert after["checksums"] == before["checksums"]
    assert (tmp_path / "two").read_text() == "two"
    assert mode(tmp_path / "three") == 0o644


def test_a_file_that_its_program_refuses_stays_as_it_was(tmp_path: Path) -> None:
    included, new, path = tmp_path / "included", tmp_path / "new", tmp_path / "script"
    write({"path": path, "content": "true\n", "validate": "/bin/sh -n %s"}, {"path": included, "content": "old"})
    answer = write(
        {"path": included, "content": "changed"},
        {"path": new, "content": "new"},
        {"path": path, "content": "if\n", "validate": "/bin/sh -n %s"},
    )
    assert answer["failed"]
    assert f"{path} would be wrong: " in answer["msg"]
    assert "as they were" in answer["msg"]
    assert path.read_text() == "true\n"
    assert included.read_text() == "old"
    assert not new.exists()


def test_files_that_are_read_together_are_looked_at_together(tmp_path: Path) -> None:
    """The program reads a file that names another one; only the other one is changed."""
    folder, kept = tmp_path / "etc", tmp_path / "elsewhere"
    main = {"path": folder / "main", "content": ". ./parts/one\n"}
    part = {"path": folder / "parts/one", "content": "true\n"}
    sets = [{"folder": str(folder), "validate": "/bin/sh -c 'cd %s && sh -e ./main'"}]
    assert write(main, part, sets=sets)["changed"]
    (folder / "by-hand").symlink_to("/nowhere")
    answer = write(main, {"path": kept, "content": "new"}, part | {"content": "nothing-like-this\n"}, sets=sets)
    assert f"{folder} would be wrong: " in answer["msg"]
    assert "nothing-like-this" in answer["msg"]
    assert part["path"].read_text() == "true\n"
    assert not kept.exists()
    answer = write(main, part | {"state": "absent"}, sets=sets)
    assert "parts/one" in answer["msg"], "it is looked at without what is to go"
    assert part["path"].exists()
    new = {"path": folder / "parts/two", "content": "true\n"}
    assert write(main | {"content": ". ./parts/two\n"}, new, part | {"state": "absent"}, sets=sets)["changed"]


def test_a_set_of_which_nothing_changes_is_not_looked_at(tmp_path: Path) -> None:
    main = {"path": tmp_path / "etc/main", "content": "true\n"}
    write(main)
    sets = [{"folder": str(tmp_path / "etc"), "validate": "/bin/false %s"}]
    assert not write(main, sets=sets)["changed"]
    assert not write(main | {"content": "other"}, sets=sets, _ansible_check_mode=True).get("failed")


def test_what_a_killed_run_did_not_put_into_force_is_told_again(tmp_path: Path) -> None:
    mark, file = tmp_path / "unapplied/service", {"path": tmp_path / "settings", "content": "a"}
    assert write(file, unapplied=str(mark))["changed"]
    assert mark.exists()
    again = write(file, unapplied=str(mark))
    assert (again["changed"], again["changed_paths"]) == (True, [])
    mark.unlink()  # as the handler does
    assert not write(file, unapplied=str(mark))["changed"]
    assert not mark.exists()
    assert write(file | {"content": "if", "validate": "/bin/sh -n %s"}, unapplied=str(mark))["failed"]
    assert not mark.exists()


def test_of_secrets_no_difference_is_shown(tmp_path: Path) -> None:
    files = [
        {"path": tmp_path / "open", "content": "seen"},
        {"path": tmp_path / "shut", "content": "hid", "secret": True},
    ]
    answer = write(*files, _ansible_diff=True)
    assert len(answer["changed_paths"]) == 2
    assert [one["after"] for one in answer["diff"]] == ["seen"]


def test_what_has_no_use_any_more_is_removed_once(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("old")
    assert write({"path": path, "state": "absent"})["changed_paths"] == [str(path)]
    assert not path.exists()
    assert not write({"path": path, "state": "absent"})["changed"]


def test_check_mode_tells_the_difference_and_writes_nothing(tmp_path: Path) -> None:
    here, new = tmp_path / "here", tmp_path / "new/file"
    write({"path": here, "content": "before\n"})
    files = [
        {"path": here, "content": "after\n"},
        {"path": new, "content": "new\n", "owner": "nobody-of-this-host"},
        {"path": tmp_path / "folder", "state": "directory"},
    ]
    answer = write(*files, _ansible_check_mode=True, _ansible_diff=True)
    assert answer["changed_paths"] == [str(one["path"]) for one in files]
    assert [(one["before"], one["after"]) for one in answer["diff"]][:2] == [("before\n", "after\n"), ("", "new\n")]
    assert here.read_text() == "before\n"
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_contents_are_told_to_nobody(tmp_path: Path) -> None:
    answer = write({"path": tmp_path / "password", "content": "secret", "mode": "0600"})
    assert "secret" not in json.dumps(answer)
