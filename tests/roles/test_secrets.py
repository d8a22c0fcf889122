"""The site's secrets: one file, made once, never by surprise, and changed without a gap."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from cryptography import x509

from tests.processes import run
from tests.roles.test_wiring import ROOT, ansible

sys.path.append(str(ROOT / "ansible"))
from authority import Authority
from secrets_file import BACKUP_KEY, LENGTHS, Secrets, SecretsError, losses, public_key

OPEN = VaultLib([])
SHUT = VaultLib([("default", VaultSecret(b"a vault's password"))])


def made(path: Path, vault: VaultLib = OPEN) -> Secrets:
    """The secrets of a new site, in their file."""
    found = Secrets.read(path, vault)
    found.complete()
    found.write()
    return found


def noted(secrets: Secrets, **more: str) -> dict:
    """What a host notes of a deploy."""
    note = {"salt": secrets.salt, "digests": secrets.digests(), "who": "ada@laptop", "when": "2026-11-30 12:00:00 UTC"}
    return json.loads(json.dumps(note | more))


def play(tmp_path: Path, *steps: dict, **environment: str) -> tuple[str, list[dict]]:
    """What one playbook says that calls the action so often, and what each call gave to the roles, or why it failed."""
    tasks = []
    for number, step in enumerate(steps):
        arguments = {"file": str(tmp_path / "site/secrets.yml"), "site": "pong.example.com", **step}
        check = arguments.pop("check", False)
        register = {"register": f"answer{number}", "ignore_errors": True, "check_mode": check}
        tasks.append({"site_secrets": arguments, **register})
    answers = ", ".join(f"answer{number}" for number in range(len(steps)))
    tasks.append({"ansible.builtin.debug": {"msg": f"{{{{ [{answers}] | to_json }}}}"}})
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    (tmp_path / "site").mkdir(exist_ok=True)
    environment |= {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.timer"}
    done = ansible("ansible-playbook", "-i", "localhost,", "-c", "local", playbook, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    begin = done.stdout.index("{\n")
    report, _ = json.JSONDecoder().raw_decode(done.stdout[begin:])
    *called, told = (task["hosts"]["localhost"] for task in report["plays"][0]["tasks"])
    found = told["msg"]
    return done.stdout[:begin] + json.dumps(called), json.loads(found) if isinstance(found, str) else found


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_file_is_for_its_owner_alone_from_its_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = os.open

    def watch(path: object, flags: int, mode: int = 0o777) -> int:
        descriptor = real(path, flags, mode)
        opened.append(os.fstat(descriptor).st_mode & 0o777)
        return descriptor

    os.umask(0o022)
    monkeypatch.setattr(os, "open", watch)
    secrets = made(tmp_path / "secrets.yml")
    assert opened[0] == 0o600
    assert secrets.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.yml"]
    assert {name: len(value) for name, value in secrets.current.items() if name in LENGTHS} == LENGTHS


@pytest.mark.parametrize("vault", [OPEN, SHUT], ids=["plain", "vault"])
def test_what_was_written_is_read_again_and_changes_nothing(tmp_path: Path, vault: VaultLib) -> None:
    path = tmp_path / "secrets.yml"
    secrets = made(path, vault)
    again = Secrets.read(path, vault)
    assert (again.current, again.authority) == (secrets.current, secrets.authority)
    assert again.complete() == []
    assert not again.is_changed()
    assert path.read_bytes().startswith(b"$ANSIBLE_VAULT;") == (vault is SHUT)


def test_a_file_gets_the_vault_when_there_is_a_password_and_is_closed_when_others_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yml"
    made(path)
    assert Secrets.read(path, SHUT).is_changed()
    path.chmod(0o644)  # as scp leaves it
    assert Secrets.read(path, OPEN).is_changed()


@pytest.mark.parametrize(
    ("vault", "text", "told"),
    [
        (OPEN, None, "is encrypted: give the password"),
        (VaultLib([("default", VaultSecret(b"another"))]), None, "cannot be decrypted with the vault password"),
        (OPEN, "", "is empty: put a copy of it in its place"),
        (OPEN, "- a\n- list\n", "is not a file of secrets"),
        (OPEN, "current: [a]\n", "is not a file of secrets"),
        (OPEN, "current: {a: b\n", "is not a file of secrets"),
    ],
)
def test_file_that_cannot_be_read_is_no_reason_to_make_another(
    tmp_path: Path, vault: VaultLib, text: str | None, told: str
) -> None:
    path = tmp_path / "secrets.yml"
    made(path, SHUT)
    if text is not None:
        path.write_text(text)
    with pytest.raises(SecretsError, match=told) as error:
        Secrets.read(path, vault)
    assert str(path) in str(error.value)


def test_folder_of_an_earlier_version_is_taken_over(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    (folder / "ca/hosts").mkdir(parents=True)
    origin = made(tmp_path / "origin.yml")
    authority = Authority(origin.authority)
    authority.renew("app1", ["192.0.2.1"])
    for name, value in origin.current.items():
        (folder / name).write_text(value if name == BACKUP_KEY else f"{value}\n")
    for name, pair in (("ca", origin.authority["ca"]), ("hosts/app1", origin.authority["hosts"]["app1"])):
        for kind, text in pair.items():
            (folder / f"ca/{name}.{kind}").write_text(text)
    before = files(tmp_path)
    found = Secrets.read(tmp_path / "secrets.yml", OPEN)
    assert (found.current, found.authority) == (origin.current, origin.authority)
    assert files(tmp_path) == before
    assert found.complete() == []
    found.write()
    assert "are in secrets.yml now" in folder.read_text()  # and no earlier version makes a folder of new ones there
    assert Secrets.read(tmp_path / "secrets.yml", OPEN).current == origin.current


def test_host_that_notes_the_same_secrets_is_one_of_ours(tmp_path: Path) -> None:
    secrets = made(tmp_path / "secrets.yml")
    assert secrets.foreign(noted(secrets)) == {}
    assert secrets.foreign({}) == {}  # a bare host


def test_each_value_that_differs_is_named(tmp_path: Path) -> None:
    secrets = made(tmp_path / "secrets.yml")
    note = noted(secrets)
    secrets.current["postgres_app"] = "typed by hand"
    assert list(secrets.foreign(note)) == ["postgres_app"]
    other = made(tmp_path / "other.yml")
    assert set(other.foreign(note)) == {*LENGTHS, BACKUP_KEY, "ca"}
    assert set(Secrets.read(tmp_path / "none.yml", OPEN).foreign(note)) == {*LENGTHS, BACKUP_KEY, "ca"}


def test_a_host_that_was_away_while_a_value_changed_is_still_one_of_ours_and_an_old_copy_is_not(tmp_path: Path) -> None:
    secrets = made(tmp_path / "secrets.yml")
    old, note = Secrets.read(secrets.path, OPEN), noted(secrets)
    Authority(secrets.authority).change("begin")
    assert secrets.foreign(note) == {}
    key = secrets.authority["ca"]["key"]
    Authority(secrets.authority).change("switch")
    secrets.forget_later("ca", key)
    assert secrets.foreign(note) == {}
    assert list(old.foreign(noted(secrets))) == ["ca"]


def certificate(store: dict, stage: str = "", after: float = 0) -> tuple[x509.Certificate, list[x509.Certificate]]:
    """The certificate that the host app1 gets from a CA, and the CAs to trust."""
    authority = Authority(store)
    authority.change(stage)
    authority.renew("app1", ["192.0.2.2"], after)
    bundle = authority.bundle("app1")
    trusted = x509.load_pem_x509_certificates(bundle["ca"].encode())
    return x509.load_pem_x509_certificate(bundle["certificate"].encode()), trusted


def test_hosts_get_certificates_for_each_other_once() -> None:
    store: dict = {}
    first, (authority,) = certificate(store)
    first.verify_directly_issued_by(authority)
    names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["app1"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.2"]
    assert certificate(store)[0] == first
    assert certificate(store, after=time.time() + 60)[0] != first


def test_another_ca_is_trusted_before_it_issues_and_the_old_one_until_after() -> None:
    store: dict = {}
    before, (old,) = certificate(store)
    begun, trusted = certificate(store, "begin")
    assert begun == before
    assert trusted[0] == old
    assert len(trusted) == 2
    switched, also_trusted = certificate(store, "switch")
    switched.verify_directly_issued_by(trusted[1])
    assert set(also_trusted) == set(trusted)
    assert certificate(store, "begin")[1] == also_trusted
    ended, (remaining,) = certificate(store, "end")
    assert remaining == trusted[1]
    assert ended == switched


def test_values_change_in_three_rounds_and_each_round_may_be_repeated(tmp_path: Path) -> None:
    secrets = made(tmp_path / "secrets.yml")
    old, note = dict(secrets.current), noted(secrets)
    seen = []
    for stage in ("begin", "begin", "switch", "begin", "switch", "end", "begin", "switch", "end", "done", "done"):
        secrets.rotate(stage, ["app_key", "valkey_app"])
        secrets.write()
        secrets = Secrets.read(secrets.path, OPEN)
        seen.append((secrets.current["app_key"], secrets.other.get("app_key")))
        assert secrets.foreign(note) == {}  # of a host that has been away from the beginning
        assert secrets.foreign(noted(secrets)) == {}
    new = secrets.current["app_key"]
    assert seen == [(old["app_key"], new)] * 2 + [(new, old["app_key"])] * 3 + [(new, None)] * 6
    assert {name for name, value in secrets.current.items() if value != old[name]} == {"app_key", "valkey_app"}
    assert secrets.rotation == {}
    assert old["app_key"] not in secrets.path.read_text()


def test_a_copy_from_before_the_change_or_its_middle_is_none_of_ours(tmp_path: Path) -> None:
    secrets = made(tmp_path / "secrets.yml")
    before = Secrets.read(secrets.path, OPEN)
    for stage in ("begin", "switch", "end"):
        secrets.rotate(stage, ["postgres_app"])
        assert list(before.foreign(noted(secrets))) == ["postgres_app"]


def test_all_that_can_be_is_changed_where_nothing_is_named(tmp_path: Path) -> None:
    secrets = made(tmp_path / "secrets.yml")
    secrets.rotate("begin", [])
    assert set(secrets.other) == set(LENGTHS) - {"backup_passphrase"}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("backup_passphrase", "give backups another place"),
        ("backup_key", "the store must let the new one in first"),
        ("ca", "make rotate-certificates CA=1"),
        ("app_kee", "there is no such secret; there are app_key, "),
    ],
)
def test_what_cannot_be_changed_is_refused_with_what_to_do_instead(tmp_path: Path, name: str, told: str) -> None:
    secrets = made(tmp_path / "secrets.yml")
    with pytest.raises(SecretsError, match=told):
        secrets.rotate("begin", ["app_key", name])
    assert not secrets.is_changed()


def test_key_of_the_store_is_one_of_ssh_keygen(tmp_path: Path) -> None:
    secrets = made(tmp_path / "secrets.yml")
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_text(secrets.current[BACKUP_KEY])
    derived = run(["ssh-keygen", "-y", "-f", tmp_path / "key"], check=True)
    assert derived.stdout.split()[:2] == public_key(secrets.current[BACKUP_KEY]).split()[:2]


def test_losses_are_those_of_what_changes() -> None:
    everything = losses([*LENGTHS, BACKUP_KEY, "ca"], hosts=3)
    for part in ("read the backups", "second factors", "passwords", "CA"):
        assert part in everything
    assert "CA" not in losses(["ca", "app_key"], hosts=1)
    assert losses(["app_key"], hosts=3) == "second factors are gone and everybody is logged out"


def test_first_deploy_makes_the_file_and_the_next_one_leaves_it(tmp_path: Path) -> None:
    vault = tmp_path / "vault-password"
    vault.write_text("a vault's password\n")
    first = {"state": "present", "records": {"mp1": {}}, "addresses": {"mp1": ["192.0.2.1"]}}
    said, (answer,) = play(tmp_path, first, ANSIBLE_VAULT_PASSWORD_FILE=str(vault))
    assert "keep a copy somewhere else" in said
    assert answer["secrets"]["app_key"] not in said
    before = files(tmp_path / "site")
    assert list(before) == ["secrets.yml"]
    assert before["secrets.yml"].startswith(b"$ANSIBLE_VAULT;")
    assert answer["backup_public_key"] == public_key(answer["secrets"][BACKUP_KEY])
    x509.load_pem_x509_certificate(answer["certificates"]["mp1"]["certificate"].encode())
    second = first | {"records": {"mp1": answer["note"], "mp2": {}}}
    _, (again,) = play(tmp_path, second, ANSIBLE_VAULT_PASSWORD_FILE=str(vault))
    assert (again["secrets"], again["certificates"]) == (answer["secrets"], answer["certificates"])
    assert (again["changed"], again["noted"]) == (False, ["mp1"])
    assert files(tmp_path / "site") == before


def test_nothing_is_written_before_a_deploy_and_others_secrets_are_refused_without_consent(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    note = noted(made(tmp_path / "elsewhere/secrets.yml"))
    look, check, deploy = {"state": "look"}, {"state": "present", "check": True}, {"state": "present"}
    bare = {"records": {"mp1": {}}, "addresses": {"mp1": []}}
    foreign = {"records": {"bare": {}, "mp1": note}, "hosts": 2}
    _, answers = play(
        tmp_path, look | bare, check | bare, look | foreign, check | foreign, deploy | foreign,
        deploy | {"records": {"mp1": {"traces": True}}}, deploy | {"records": {"mp1": {}}, "silent": ["mp2"]},
    )  # fmt: skip
    assert files(tmp_path / "site") == {}
    for answer in answers[:2]:
        assert set(answer["secrets"]) == {*LENGTHS, BACKUP_KEY}  # stand-ins, so that the rest can be looked at
        assert answer["certificates"] == {"mp1": {"certificate": "", "key": "", "ca": ""}}
    for answer in answers[2:5]:
        for part in ("mp1 runs with secrets which ada@laptop deployed last, on 2026-11-30 12:00:00 UTC",
                     "secrets.yml is not there", "nobody can read the backups", "second factors are gone",
                     "the CA of its hosts", "nothing was changed", "NEW_SECRETS=1"):  # fmt: skip
            assert part in answer["msg"]
    assert "of an earlier version, which has not noted who deployed them" in answers[5]["msg"]
    assert "mp2 cannot be asked if the site has secrets" in answers[6]["msg"]


def test_consent_replaces_them_and_the_next_run_asks_no_more(tmp_path: Path) -> None:
    """Also for a host that the first run did not reach, but for no third set."""
    (tmp_path / "elsewhere").mkdir()
    note = noted(made(tmp_path / "elsewhere/secrets.yml"))
    deploy = {"state": "present", "records": {"mp1": note}}
    _, (answer,) = play(tmp_path, deploy | {"consent": True})
    assert answer["noted"] == []
    third = noted(made(tmp_path / "elsewhere/third.yml"), site="chess.example.com")
    _, (again, old, other) = play(
        tmp_path,
        deploy,
        {"state": "present", "records": {"mp1": {"traces": True}}},
        deploy | {"records": {"mp1": third}},
    )
    assert again["secrets"] == old["secrets"] == answer["secrets"]
    assert "ada@laptop deployed last, on 2026-11-30 12:00:00 UTC for chess.example.com" in other["msg"]


def test_secrets_beside_an_inventory_are_no_hosts(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"mp1": {}}}}))
    made(tmp_path / "secrets.yml", SHUT)
    (tmp_path / "secrets").write_text("of an earlier version")
    done = ansible("ansible-inventory", "--inventory", tmp_path, "--list")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ungrouped"]["hosts"] == ["mp1"]
