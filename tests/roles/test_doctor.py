"""`make doctor` names what is broken in the world around a site, with the setting and what to do; and sends nothing."""

import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from tests.roles.test_full_disk import load
from tests.roles.test_wiring import ansible
from tests.rules.alertmanager import deployed, recording, running
from tests.rules.model import ROOT, role_value

probe = load("roles/preflight/library/world_probe.py")
alert_test = load("ansible/plugins/modules/alert_test.py")
KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIJ8xSoK2W9Z3qvPyYJc1m0g7mYc5hTtWbE6dVxkR0aQz"
OTHER_KEY = KEY.replace("Qz", "Rz")
METRICS = """\
alertmanager_notification_requests_total{integration="email",receiver_name="page"} %d
alertmanager_notification_requests_total{integration="webhook",receiver_name="page"} %d
alertmanager_notification_requests_failed_total{integration="webhook",receiver_name="page"} %d
alertmanager_notification_requests_total{integration="webhook",receiver_name="deadman"} 70
"""


class Web(BaseHTTPRequestHandler):
    """`/dir` is an ACME directory, `/hook` a pager that knows POST alone, `/repository` a file; no other is there."""

    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        found = {"/dir": b'{"newAccount": "x"}', "/repository": b"Suite: stable", "/dists/trixie/InRelease": b"x"}
        status = {"/broken": 503, "/hook": 501}.get(self.path, 200 if self.path in found else 404)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(found.get(self.path, b""))

    do_OPTIONS = do_POST = do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


class Relay:
    """Takes mail from the site to ops alone, and only from who knows the password."""

    mails: list[Any] = []

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address != "ops@pong.test":
            return "554 5.7.1 Relay access denied"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(envelope)
        return "250 OK"


def let_in(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    return AuthResult(success=data.password == b"a b", handled=False)


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def relay() -> Iterator[str]:
    controller = Controller(Relay(), "127.0.0.1", free_port(), authenticator=let_in, auth_require_tls=False)
    controller.start()
    yield f"127.0.0.1:{controller.port}"
    controller.stop()


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the host's programs print, by name, in files beside them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("apt-get", "apt-config", "ssh-keyscan", "sftp"):
        (folder / name).write_text(f'#!/bin/sh\ncat "{folder}/{name}.out"; exec cat "{folder}/{name}.err" >&2\n')
        (folder / name).chmod(0o755)
        (folder / f"{name}.out").touch()
        (folder / f"{name}.err").touch()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


@pytest.fixture
def disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    for name, path in (("MTAB", tmp_path / "mounts"), ("FSTAB", tmp_path / "fstab")):
        path.write_text("/dev/vda1 / ext4 defaults 0 1\n")
        monkeypatch.setattr(probe, name, path)
    return tmp_path / "mounts", tmp_path / "fstab"


def test_a_world_that_is_as_it_should_be_has_no_faults_and_hears_of_nothing(
    web: str, relay: str, programs: Path, disks: tuple[Path, Path]
) -> None:
    (programs / "apt-get.out").write_text(f"'http://{web}/dists/trixie/InRelease' x_InRelease 0\n")
    (programs / "ssh-keyscan.out").write_text(f"# a banner\n127.0.0.1 ssh-ed25519 {KEY}\n")
    Web.asked.clear()
    probes = [
        {"kind": "apt"},
        {"kind": "mounts", "paths": ["/var/lib/postgresql"]},
        {"kind": "acme", "url": f"http://{web}/dir"},
        {"kind": "smtp", "url": f"smtp://ada:a%20b@{relay}", "sender": "matchpoint@pong.test", "to": "ops@pong.test"},
        {"kind": "hook", "url": f"http://{web}/hook"},
        {"kind": "connect", "url": f"http://{web}/deadman"},
        {"kind": "web", "url": f"http://{web}/repository"},
        {"kind": "sftp", "url": "sftp://pong@127.0.0.1/pong", "keys": f"127.0.0.1 ssh-ed25519 {KEY}", "key": "secret"},
        {"kind": "port", "host": "127.0.0.1", "port": free_port()},  # nothing listens yet, and nothing forbids it
    ]
    assert [probe.told({"setting": "x"} | each) for each in probes] == [""] * len(probes)
    assert Relay.mails == []
    assert not [each for each in Web.asked if "deadman" in each or each.startswith(("POST", "HEAD"))]


def test_ten_broken_things_of_the_world_are_all_named_with_the_setting_and_the_fix(
    web: str, relay: str, programs: Path, disks: tuple[Path, Path]
) -> None:
    closed = f"127.0.0.1:{free_port()}"
    (programs / "apt-get.out").write_text(f"'http://{closed}/dists/trixie/InRelease' x_InRelease 0\n")
    (programs / "ssh-keyscan.out").write_text(f"127.0.0.1 ssh-ed25519 {OTHER_KEY}\n")
    disks[1].write_text("/dev/vdb1 /var/lib/postgresql ext4 defaults 0 2\n")
    mail = {"kind": "smtp", "setting": "matchpoint_smtp_url", "sender": "matchpoint@pong.test"}
    broken = {
        "package sources: http://%s cannot be reached, Connection refused: open the way": {
            "kind": "apt", "setting": "package sources"},
        "preflight_disks: /var/lib/postgresql/17 is to be on the disk of /var/lib/postgresql, which is in /etc/fstab": {
            "kind": "mounts", "setting": "preflight_disks", "paths": ["/var/lib/postgresql/17"]},
        "matchpoint_acme_directory: http://%s answers 200 and is no ACME directory: it must be": {
            "kind": "acme", "setting": "matchpoint_acme_directory", "url": f"http://{web}/repository"},
        "lets ada not in (5.7.8 Authentication credentials invalid): correct user and password": mail | {
            "url": f"smtp://ada:hunter2@{relay}", "to": "ops@pong.test"},
        "takes no mail from matchpoint@pong.test to ada@else.test (5.7.1 Relay access denied): let it relay": mail | {
            "url": f"smtp://{relay}", "to": "ada@else.test"},
        "matchpoint_pager_url: http://%s answers 503: correct the address": {
            "kind": "hook", "setting": "matchpoint_pager_url", "url": f"http://{web}/broken"},
        "matchpoint_deadman_url: https://%s cannot be reached, no TLS is spoken there": {
            "kind": "connect", "setting": "matchpoint_deadman_url", "url": f"https://{web}/token"},
        "matchpoint_backup_url: sftp://127.0.0.1 shows other keys than matchpoint_backup_host_keys: ask": {
            "kind": "sftp", "setting": "matchpoint_backup_url", "url": "sftp://pong@127.0.0.1/pong",
            "keys": f"127.0.0.1 ssh-ed25519 {KEY}"},
        "grafana_source: http://%s answers 404: set grafana_source": {
            "kind": "web", "setting": "grafana_source", "url": f"http://{web}/none", "fix": "set grafana_source"},
        "matchpoint_domain: port 443 of pong.invalid is not reached from here, its name does not resolve: correct": {
            "kind": "port", "setting": "matchpoint_domain", "host": "pong.invalid", "port": 443},
    }  # fmt: skip
    said = {what: probe.told(each) for what, each in broken.items()}
    unsaid = {}
    for what, sentence in said.items():
        place = closed if "package sources" in what else web
        if (what % place if "%s" in what else what) not in sentence:
            unsaid[what] = sentence
    assert not unsaid
    assert not [sentence for sentence in said.values() if "hunter2" in sentence or "token" in sentence]


def test_a_key_that_the_store_does_not_let_in_and_a_disk_in_memory_are_told(
    programs: Path, disks: tuple[Path, Path]
) -> None:
    (programs / "ssh-keyscan.out").write_text(f"127.0.0.1 ssh-ed25519 {KEY}\n")
    (programs / "sftp").write_text("#!/bin/sh\necho 'Permission denied (publickey).' >&2; exit 255\n")
    store = {"kind": "sftp", "setting": "x", "url": "sftp://pong@127.0.0.1/pong", "keys": f"a ssh-ed25519 {KEY}"}
    assert probe.told(store) == "", "before the first deploy there is no key"
    assert "Permission denied (publickey).): let the key that `make backup-key` prints in" in probe.told(
        store | {"key": "k"}
    )
    disks[0].write_text("/dev/vda1 / ext4 rw 0 0\ntmpfs /var/lib tmpfs rw 0 0\n")
    told = probe.told({"kind": "mounts", "setting": "x", "paths": ["/opt/matchpoint", "/var/lib/postgresql"]})
    assert told.startswith("x: /var/lib/postgresql is on /var/lib, which is in memory")


def test_examples_are_refused_and_values_of_ones_own_are_not() -> None:
    settings = yaml.safe_load((ROOT / "inventories/single/group_vars/all.yml").read_text())
    host = {"name": "pong", "ssh": "192.0.2.10:22"}

    def refused(**values: Any) -> list[str]:
        said = {"preflight_hosts": [], **values}
        return [fault.split()[0] for fault in role_value("preflight", "__preflight_faults_examples", **said)]

    assert refused(**settings) == [
        f"matchpoint_{name}" for name in ("domain", "admin_email", "smtp_url", "pager_url", "deadman_url", "backup_url")
    ] + ["matchpoint_backup_host_keys"]
    assert refused(preflight_hosts=[host]) == ["the"]
    own = {name: str(value).replace("example.com", "pong.test") for name, value in settings.items()}
    assert refused(**own | {"matchpoint_smtp_url": "smtp://u:p%20w@mail.pong.test:25"}) == []


def sent(folder: Path, receivers: list[dict[str, Any]], mail_port: int) -> tuple[int, str]:
    """How the role's test of a real Alertmanager with these receivers ends, and what it says."""
    folder.mkdir()
    how: dict[str, Any] = {
        "alertmanager_receivers": receivers,
        "alertmanager_smtp_url": f"smtp://127.0.0.1:{mail_port}",
        "alertmanager_deadman_url": "none",
    }
    with running(deployed(folder, **how), folder) as there:
        how |= {"alertmanager_listen": there.url.removeprefix("http://"), "alertmanager_site": "pong.test"}
        how |= {"__alertmanager_test_seconds": {"page": 8}, "ansible_become": False}
        role = {"name": "alertmanager", "tasks_from": "test", "rolespec_validate": False}
        play = [{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.include_role": role}]}]
        (folder / "play.yml").write_text(json.dumps(play))
        words = ["-i", "localhost,", "-c", "local", folder / "play.yml", "-e", json.dumps(how)]
        done = ansible("ansible-playbook", *words)
        return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_a_test_alert_arrives_by_mail_and_pager_and_a_pager_that_is_down_is_told(tmp_path: Path) -> None:
    mail = {"type": "email", "to": "ops@pong.test"}
    with recording() as received:
        pager = {"type": "webhook", "url": f"http://127.0.0.1:{received.port}/pager"}
        status, told = sent(tmp_path / "both", [mail, pager], received.mail_port)
        assert status == 0, told
        assert "the page by email was taken" in told
        assert "the page by webhook was taken" in told
        assert "TestAlert" in json.dumps(received.at("/pager"))
        (letter,) = received.mails
        assert "asks whether alerts of pong.test arrive" in letter.as_string().replace("=\n", "")
        pager = {"type": "webhook", "url": f"http://127.0.0.1:{free_port()}/pager"}
        status, told = sent(tmp_path / "one", [mail, pager], received.mail_port)
        assert status == 2
        assert "the page by email was taken" in told
        assert "the page by webhook was NOT taken (" in told


def test_a_test_alert_counts_what_was_taken_and_what_was_refused() -> None:
    before = alert_test.counts(METRICS % (3, 5, 1), "page")
    assert before == (Counter(email=3, webhook=4), Counter(webhook=1))
    taken, refused = (
        now - old for now, old in zip(alert_test.counts(METRICS % (4, 7, 3), "page"), before, strict=True)
    )
    assert (taken, refused) == (Counter(email=1), Counter(webhook=2))
    assert Counter(email=1, webhook=1) - taken == Counter(webhook=1), "the pager did not take it"
