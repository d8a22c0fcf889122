"""A host unpacks what the control machine has signed, and nothing else: what served before serves on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.plays import ansible_play
from tests.processes import run
from tests.roles.test_full_disk import load, release

signing = load("ansible/signing.py")
signature = load("ansible/plugins/module_utils/release_signature.py")


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MATCHPOINT_RELEASE_KEY", str(new_key(tmp_path / "key")))
    (tmp_path / "tree/app").mkdir(parents=True)
    (tmp_path / "tree/app/page.html").write_text("new")
    release.pack(tmp_path / "tree", tmp_path / "new.tar.zst", {"release": "new", "built": "2026-12-01"})
    return tmp_path / "new.tar.zst"


def new_key(path: Path) -> Path:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def fault(archive: Path) -> str:
    return str(signature.fault_of_signature(archive, signing.signature_of(archive), signing.public_key()))


def spoil(archive: Path) -> None:
    """One bit, in the middle."""
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)


def unsign(archive: Path) -> None:
    signing.signature_of(archive).unlink()


def empty(archive: Path) -> None:
    signing.signature_of(archive).write_text("")


def sign_with_another_key(archive: Path) -> None:
    resign(archive, new_key(archive.with_name("other")), "matchpoint-release")


def sign_for_something_else(archive: Path) -> None:
    resign(archive, archive.with_name("key"), "git")


def resign(archive: Path, key: Path, namespace: str) -> None:
    unsign(archive)
    run(["ssh-keygen", "-Y", "sign", "-q", "-f", key, "-n", namespace, archive], check=True)


@pytest.mark.parametrize(
    ("do", "told"),
    [
        (unsign, "it is not signed"),
        (empty, "it is not signed"),
        (spoil, "its signature is not by the key"),
        (sign_with_another_key, "its signature is not by the key"),
        (sign_for_something_else, "its signature is not by the key"),
    ],
)
def test_what_the_key_did_not_sign_is_told_and_built_anew(archive: Path, do: Callable[[Path], Any], told: str) -> None:
    assert fault(archive) == ""
    assert signing.is_signed(archive)
    do(archive)
    assert told in fault(archive)
    assert not signing.is_signed(archive), "the next deploy would bring it"


def test_a_host_refuses_it_before_it_opens_it_and_keeps_what_it_has(archive: Path, tmp_path: Path) -> None:
    served = tmp_path / "dest"
    served.mkdir()
    (served / "page.html").write_text("old, and by an earlier version damaged")
    task = {"unpack_archive": {"archive": str(archive), "dest": str(served), "part": "app/"}}
    sign_with_another_key(archive)
    told = ansible_play(tmp_path, task)
    assert f"{served} was not unpacked: its signature is not by the key" in told
    assert [path.name for path in served.iterdir()] == ["page.html"]
    unsign(archive)
    assert "is not signed" in ansible_play(tmp_path, task)
    release.pack(tmp_path / "tree", archive)
    assert "changed=1" in ansible_play(tmp_path, task)
    assert (served / "app/page.html").read_text() == "new"


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MATCHPOINT_RELEASE_KEY", raising=False)
    monkeypatch.setattr(signing, "OWN", tmp_path / "keys/release")
    first = signing.public_key()
    assert signing.public_key() == first
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["release"]
    assert signing.OWN.stat().st_mode & 0o77 == 0


def test_a_key_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATCHPOINT_RELEASE_KEY", "/nowhere/key")
    with pytest.raises(signing.SigningError, match="MATCHPOINT_RELEASE_KEY is /nowhere/key, and there is no such file"):
        signing.key()
