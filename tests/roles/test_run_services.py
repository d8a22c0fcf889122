"""Services that run with what is on disk: what module run_services makes of a host, whose systemd is a script here."""

import hashlib
import http.server
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import run
from tests.rules.model import ROOT

MODULE = ROOT / "ansible/plugins/modules/run_services.py"
# Keeps what it says of a unit in a file of that name, and refuses what is about a unit with "broken" in it
SYSTEMCTL = """#!/bin/sh
cd "$(dirname "$0")/.."
verb=$1; shift
[ "$verb" = show ] || echo "$verb${1:+ $*}" >>calls
case $verb in
  show)
    shift
    for unit; do
      cat "units/$unit" 2>/dev/null || printf 'ActiveState=inactive\\nUnitFileState=\\nNeedDaemonReload=no\\n'
      echo
    done ;;
  daemon-reload) sed -i s/NeedDaemonReload=yes/NeedDaemonReload=no/ units/* ;;
  enable) for unit; do sed -i s/^UnitFileState=.*/UnitFileState=enabled/ "units/$unit"; done ;;
  *)
    case $1 in *broken*) echo "Job for $1 failed."; exit 1; esac
    sed -i s/^ActiveState=.*/ActiveState=active/ "units/$1" ;;
esac
"""
JOURNALCTL = "#!/bin/sh\necho last words of $1\n"


class Host:
    def __init__(self, folder: Path) -> None:
        self.folder, self.marks = folder, folder / "system"
        for name in ("bin", "units", "system"):
            (folder / name).mkdir()
        for name, script in (("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)):
            (folder / "bin" / name).write_text(script)
            (folder / "bin" / name).chmod(0o755)

    def install(self, unit: str, active: str = "inactive", at_boot: str = "disabled", reload: str = "no") -> None:
        (self.folder / "units" / unit).write_text(
            f"ActiveState={active}\nUnitFileState={at_boot}\nNeedDaemonReload={reload}\n"
        )

    def file(self, name: str, content: str) -> str:
        (self.folder / name).write_text(content)
        return str(self.folder / name)

    def mark(self, unit: str, name: str) -> Path:
        return self.marks / f"{unit}.d" / name

    def run(self, *services: dict[str, Any], **options: Any) -> dict[str, Any]:
        """What the module answers."""
        arguments = {"services": services, "marks": str(self.marks)} | options
        environment = os.environ | {"PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        given = json.dumps({"ANSIBLE_MODULE_ARGS": arguments})
        done = run([sys.executable, MODULE], stdin=given, umask=0o077, env=environment)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def calls(self) -> list[str]:
        """What systemd has been told since the last time."""
        log = self.folder / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def page() -> Iterator[tuple[str, list[str]]]:
    """The address of a page, and what it says."""
    text = ["old"]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/config" else 503)
            self.end_headers()
            self.wfile.write(f"{text[0]}\n".encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/config", text
        server.shutdown()


class Exporter:
    """A service that takes its time over a reload, and says what came of the last one as Prometheus does."""

    def __init__(self) -> None:
        self.is_taken, self.at = True, 1.7960441363920271e09
        self.comes: list[tuple[bool, float]] = []  # what it says after the next questions, one by one
        exporter = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                if self.path == "/metrics":
                    self.wfile.write(exporter.says().encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/-/ready"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def says(self) -> str:
        text = (
            "# TYPE blackbox_exporter_config_last_reload_successful gauge\n"
            f"blackbox_exporter_config_last_reload_successful {int(self.is_taken)}\n"
            f"blackbox_exporter_config_last_reload_success_timestamp_seconds {self.at!r}\n"
        )
        if self.comes:
            self.is_taken, self.at = self.comes.pop(0)
        return text


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    exporter = Exporter()
    yield exporter
    exporter.server.shutdown()
    exporter.server.server_close()


@pytest.fixture
def closed_port() -> Iterator[dict[str, Any]]:
    """A port that is taken, so that nobody else listens there, and not listened on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield {"host": "127.0.0.1", "port": taken.getsockname()[1]}


def test_what_does_not_run_is_started_at_once_and_at_every_boot(host: Host) -> None:
    host.install("one.service")
    host.install("two.service", active="failed", at_boot="enabled")
    flags, rules = host.file("flags", "-a\n"), host.file("rules", "a\n")
    services = [{"unit": "one.service", "restart_for": [flags], "reload_for": [rules]}, {"unit": "two.service"}]
    answer = host.run(*services)
    assert answer["changed"]
    assert (answer["enabled"], answer["started"]) == (["one.service"], ["one.service", "two.service"])
    assert (answer["restarted"], answer["reloaded"]) == ([], [])
    calls = host.calls()
    assert calls[0] == "enable one.service"
    assert sorted(calls[1:]) == ["start one.service", "start two.service"]
    again = host.run(*services)
    assert (again["changed"], host.calls()) == (False, [])


def test_marks_are_what_they_have_always_been(host: Host) -> None:
    """A host that is deployed already has them: nothing restarts for another way of writing them."""
    host.install("one.service", "active", "enabled")
    flags, unit, nothing = host.file("flags", "-a"), host.file("unit", "[Service]\n"), str(host.folder / "nothing")
    host.run({"unit": "one.service", "restart_for": [flags, nothing, unit], "reload_for": [flags]})
    first, last = (hashlib.sha1(text).hexdigest() for text in (b"-a", b"[Service]\n"))
    assert host.mark("one.service", "started-with").read_text() == f"{first}  {last}"
    assert host.mark("one.service", "loaded").read_text() == first
    assert host.mark("one.service", "loaded").stat().st_mode & 0o777 == 0o644
    assert host.mark("one.service", "loaded").parent.stat().st_mode & 0o777 == 0o755


def test_other_files_are_a_restart_or_a_reload_never_both(host: Host) -> None:
    host.install("one.service")
    flags, rules = host.file("flags", "-a"), host.file("rules", "a")
    service = {"unit": "one.service", "restart_for": [flags], "reload_for": [rules]}
    host.run(service)
    host.calls()
    host.file("rules", "b")
    assert host.run(service)["reloaded"] == ["one.service"]
    assert host.calls() == ["reload one.service"]
    host.file("rules", "c")
    host.file("flags", "-c")
    assert host.run(service)["restarted"] == ["one.service"]
    assert host.calls() == ["restart one.service"]
    host.file("rules", "d")
    host.install("one.service", "inactive", "enabled")
    assert host.run(service)["started"] == ["one.service"]
    assert host.calls() == ["start one.service"]
    assert not host.run(service)["changed"]


def test_what_a_killed_run_had_no_time_for_is_made_up_for(host: Host, closed_port: dict[str, Any]) -> None:
    flags = host.file("flags", "-a")
    service = {"unit": "one.service", "restart_for": [flags]}
    host.install("one.service", "active", "enabled")
    host.run(service)
    host.calls()
    # Killed right after writing, before systemd heard of it
    host.file("flags", "-b")
    host.install("one.service", "active", "enabled", reload="yes")
    # Then killed right after the restart, which for the host is the same as a service that does not get ready
    assert host.run(service | {"ready_ports": [closed_port], "ready_seconds": 0})["failed"]
    assert host.calls() == ["daemon-reload", "restart one.service"]
    assert host.run(service)["restarted"] == ["one.service"]
    assert not host.run(service)["changed"]


def test_a_file_of_this_run_counts_whatever_was_remembered(host: Host) -> None:
    """By hand, somebody changed a file and restarted the service; now the file is as it was, and the service is not."""
    flags = host.file("flags", "-a")
    host.install("one.service", "active", "enabled")
    service = {"unit": "one.service", "restart_for": [flags]}
    host.run(service)
    assert not host.run(service, written=["/etc/other"])["changed"]
    assert host.run(service, written=[flags])["restarted"] == ["one.service"]


def test_who_is_not_ready_is_told_with_its_last_words_and_holds_up_nobody(
    host: Host, page: tuple[str, list[str]], closed_port: dict[str, Any]
) -> None:
    for unit in ("good.service", "deaf.service", "unwell.service", "broken.service"):
        host.install(unit)
    flags = host.file("flags", "-a")
    answer = host.run(
        {"unit": "broken.service", "restart_for": [flags]},
        {"unit": "deaf.service", "restart_for": [flags], "ready_ports": [closed_port], "ready_seconds": 1},
        {"unit": "unwell.service", "restart_for": [flags], "ready_url": page[0] + "/else", "ready_seconds": 0},
        {"unit": "good.service", "restart_for": [flags], "ready_url": page[0]},
    )
    assert answer["failed"]
    assert "deaf.service is not ready after 1 s\nlast words of --unit=deaf.service" in answer["msg"]
    assert "unwell.service is not ready after 0 s" in answer["msg"]
    assert "broken.service could not be started: Job for broken.service failed." in answer["msg"]
    assert "good.service" not in answer["msg"]
    marked = [path.parent.name for path in host.marks.glob("*/started-with")]
    assert marked == ["good.service.d"]


def test_what_runs_with_something_else_says_so_itself(host: Host, page: tuple[str, list[str]]) -> None:
    address, text = page
    host.install("mesh.service", "active", "enabled")
    service = {"unit": "mesh.service", "ready_url": address, "ready_text": "old", "ready_seconds": 0}
    assert not host.run(service)["changed"]
    new = service | {"ready_text": "new"}
    assert host.run(new, _ansible_check_mode=True)["reloaded"] == ["mesh.service"]
    assert host.calls() == []
    assert host.run(new)["failed"]
    assert host.calls() == ["reload mesh.service"]
    text[0] = "new"
    assert not host.run(new)["changed"]


def test_a_reload_counts_when_the_service_says_that_it_took_it(host: Host, exporter: Exporter) -> None:
    host.install("one.service", "active", "enabled")
    service = {"unit": "one.service", "ready_url": exporter.url, "reports": "blackbox_exporter", "ready_seconds": 5}
    service["reload_for"] = [host.file("rules", "a")]
    exporter.comes = [(True, exporter.at)] * 2 + [(True, exporter.at + 0.25)]  # a signal is not heard at once
    assert host.run(service)["reloaded"] == ["one.service"]
    assert exporter.comes == []
    assert not host.run(service)["changed"]


def test_a_reload_that_was_refused_fails_and_is_tried_again(host: Host, exporter: Exporter) -> None:
    host.install("one.service", "active", "enabled")
    service = {"unit": "one.service", "ready_url": exporter.url, "reports": "blackbox_exporter", "ready_seconds": 30}
    service["log"] = host.file("error.log", "it was long ago\n" * 1000 + "unknown field\n")
    service["reload_for"] = [host.file("rules", "a")]
    exporter.comes = [(True, exporter.at), (False, exporter.at)]
    answer = host.run(service)
    assert answer["failed"]
    assert "one.service refused what it was to load, and runs with what it had\nlast words of --unit" in answer["msg"]
    assert answer["msg"].endswith("unknown field")
    assert not host.mark("one.service", "loaded").exists()
    # Still wrong: what it says has not changed since, so there is nothing but to wait
    assert "is not ready after 0 s" in host.run(service | {"ready_seconds": 0})["msg"]
    exporter.comes = [(False, exporter.at), (True, exporter.at + 9)]
    assert host.run(service)["reloaded"] == ["one.service"]
    assert not host.run(service)["changed"]


def test_a_service_that_says_it_refused_a_reload_is_told_again(host: Host, exporter: Exporter) -> None:
    """Somebody changed the file by hand, had it refused, and put it back."""
    host.install("one.service", "active", "enabled")
    service = {"unit": "one.service", "ready_url": exporter.url, "reports": "blackbox_exporter", "ready_seconds": 5}
    assert not host.run(service)["changed"]
    exporter.is_taken = False
    exporter.comes = [(True, exporter.at + 1)]
    assert host.run(service)["reloaded"] == ["one.service"]


def test_what_does_its_work_and_ends_runs_when_its_files_differ(host: Host) -> None:
    host.install("collect.service", at_boot="static")
    script = host.file("script", "true")
    service = {"unit": "collect.service", "oneshot": True, "restart_for": [script]}
    assert host.run(service)["started"] == ["collect.service"]
    host.install("collect.service")
    assert not host.run(service)["changed"]
    host.file("script", "false")
    host.run(service)
    assert host.calls() == ["start collect.service"] * 2


def test_check_mode_tells_what_would_be_done_and_does_nothing(host: Host, closed_port: dict[str, Any]) -> None:
    flags, rules = str(host.folder / "flags"), str(host.folder / "rules")
    service = {"unit": "one.service", "restart_for": [flags], "reload_for": [rules], "ready_ports": [closed_port]}
    virgin = host.run(service, written=[flags, rules], _ansible_check_mode=True)
    assert (virgin["changed"], virgin["started"]) == (True, ["one.service"])
    assert (host.calls(), list(host.marks.iterdir())) == ([], [])

    host.install("one.service")
    ready = service | {"ready_ports": []}
    host.run(ready)
    host.calls()
    assert not host.run(service, _ansible_check_mode=True)["changed"]
    assert host.run(service, written=[rules], _ansible_check_mode=True)["reloaded"] == ["one.service"]
    assert host.run(service, written=[rules, flags], _ansible_check_mode=True)["restarted"] == ["one.service"]
    assert host.calls() == []


def test_nothing_to_run_is_nothing_to_do(host: Host) -> None:
    assert not host.run()["changed"]
