"""Static files of several releases lie side by side: pages of all of them are out there during a roll."""

import importlib.util
import os
from pathlib import Path

import pytest

MODULE = Path(__file__).parents[2] / "roles/nginx/library/nginx_static_merge.py"
spec = importlib.util.spec_from_file_location("nginx_static_merge", MODULE)
assert spec
assert spec.loader
program = importlib.util.module_from_spec(spec)
spec.loader.exec_module(program)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def unpack(root: Path, release: str, at: int, **files: str) -> None:
    """A release as it comes out of its archive, at a time (unix seconds)."""
    folder = root / "releases" / release
    for name, content in files.items():
        path = folder / "static" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    os.utime(folder, (at, at))


def served(root: Path) -> dict[str, str]:
    return {str(path): (root / "static" / path).read_text() for path in sorted(program.files(root / "static"))}


def test_files_of_both_releases_are_served(root: Path) -> None:
    unpack(root, "one", 1, app__game_1="old", robots="one")
    unpack(root, "two", 2, app__game_2="new", robots="two")
    program.merge(root, "one", 10)
    program.merge(root, "two", 10)
    assert served(root) == {"app/game_1": "old", "app/game_2": "new", "robots": "two"}


def test_a_second_run_changes_nothing_and_going_back_brings_the_old_files_back(root: Path) -> None:
    unpack(root, "one", 1, game_1="old", robots="one")
    unpack(root, "two", 2, game_2="new", robots="two")
    assert program.merge(root, "one", 10)["changed"]
    assert program.merge(root, "two", 10)["changed"]
    assert not program.merge(root, "two", 10)["changed"]
    assert program.merge(root, "one", 10)["changed"]
    assert served(root)["robots"] == "one"


def test_the_releases_that_came_last_stay_and_no_file_of_theirs_goes(root: Path) -> None:
    for at, release in enumerate(("one", "two", "three"), start=1):
        unpack(root, release, at, shared="same", **{f"only_{release}": release})
        result = program.merge(root, release, 2)
    assert result["removed"] == ["one"]
    assert served(root) == {"only_three": "three", "only_two": "two", "shared": "same"}


def test_a_release_that_comes_again_is_among_the_last(root: Path) -> None:
    for at, release in enumerate(("one", "two"), start=1):
        unpack(root, release, at, robots=release)
        program.merge(root, release, 2)
    program.merge(root, "one", 2)
    os.utime(root / "releases/two", (2, 2))
    unpack(root, "three", 3, robots="three")
    assert program.merge(root, "three", 2)["removed"] == ["two"]


def test_check_mode_tells_and_changes_nothing(root: Path) -> None:
    unpack(root, "one", 1, game_1="old")
    assert program.merge(root, "one", 10, dry=True) == {"changed": True, "added": 1, "removed": []}
    assert not (root / "static").exists()
