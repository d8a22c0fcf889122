"""docker/compose.yaml without Docker: each file is tried with the program that reads it, settings with the game."""

import os
import re
import shutil
import stat
import sys
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.processes import run
from tests.roles.test_full_disk import load

driver = load("docker/compose/driver.py")
SITE: dict[str, Any] = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = SITE["services"]
GAME = [name for name, service in SERVICES.items() if service["image"].startswith("${MATCHPOINT_IMAGE")]
TOOLS = f"{ROOT}/.tools/bin:{os.environ['PATH']}:/usr/sbin"


class Client:
    """An engine that has volumes of a site."""

    def __init__(self, *volumes: str) -> None:
        self.volumes = SimpleNamespace(list=lambda filters: [SimpleNamespace(name=name) for name in volumes])


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(driver, "STATE", tmp_path)
    monkeypatch.setattr(driver.network, "_routes", lambda: iter(()))
    return driver.Site("trial")


def prepare(site: Any, client: Client | None = None, **found: str) -> dict[str, str]:
    options = SimpleNamespace(address="127.0.0.1", monitoring=True)
    driver.prepare(site, client or Client(), {"MATCHPOINT_IMAGE": "matchpoint/app:1", **found}, options)
    return site.known()


def filled(text: str, values: dict[str, str]) -> str:
    """As compose fills variables in; KeyError for one that must be there and is not."""

    def value(found: re.Match[str]) -> str:
        return values[found[1]] if found[2] == "?" else values.get(found[1]) or found[3]

    return re.sub(r"\$\{(\w+):(\?|-)([^}]*)\}", value, text)


def test_what_the_first_start_writes_is_all_that_the_file_asks_for_and_its_owners_alone(site: Any) -> None:
    known = prepare(site)
    filled((ROOT / "docker/compose.yaml").read_text(), known)
    assert stat.S_IMODE(site.environment.stat().st_mode) == 0o600
    assert stat.S_IMODE(site.state.stat().st_mode) == 0o700
    assert all(len(known[name]) == 64 for name in driver.SECRETS)
    assert known["EDGE_ADDRESS"].rpartition(".")[0] == known["SUBNET"].rpartition(".")[0]


def test_the_next_start_keeps_secrets_and_what_was_set(site: Any) -> None:
    first = prepare(site)
    site.write(first | {"MATCHPOINT_EMAIL_URL": "smtp://mail.example.com:25"})
    again = prepare(site, Client("trial_postgres"))
    assert again == first | {"MATCHPOINT_EMAIL_URL": "smtp://mail.example.com:25"}


def test_data_whose_passwords_are_gone_are_missed_and_nothing_is_written(site: Any) -> None:
    with pytest.raises(driver.LabError, match=r"data of an earlier site \(postgres\).*DATA=delete"):
        prepare(site, Client("trial_postgres", "trial_grafana"))
    assert not site.environment.exists()


def test_without_a_registry_there_is_no_grafana(site: Any) -> None:
    assert prepare(site)["COMPOSE_PROFILES"] == "monitoring,grafana"
    assert prepare(site, POSTGRES_IMAGE="stand-in")["COMPOSE_PROFILES"] == "monitoring"


@pytest.mark.parametrize(
    ("state", "wrong"),
    [
        ({"Status": "exited", "ExitCode": 0}, ""),
        ({"Status": "exited", "ExitCode": 1}, "ended with 1"),
        ({"Status": "running"}, ""),
        ({"Status": "running", "Health": {"Status": "starting"}}, "starting"),
        ({"Status": "running", "Health": {"Status": "healthy"}}, ""),
        ({"Status": "restarting"}, "restarting"),
    ],
)
def test_a_container_that_is_not_as_it_should_be_is_told(state: dict[str, Any], wrong: str) -> None:
    assert driver.trouble(state) == wrong


def test_the_game_starts_with_the_settings_that_the_file_gives(site: Any, tmp_path: Path) -> None:
    """By its own reader and Django's checks of a deployment, which need no database."""
    known = prepare(site)
    recipe = (ROOT / "docker/app/Dockerfile").read_text().replace("\\\n", " ")
    of_image = dict(re.findall(r"(MATCHPOINT_\w+)=(\S+)", recipe))
    of_service = {
        name: {key: filled(value, known) for key, value in SERVICES[name]["environment"].items()} for name in GAME
    }
    assert {frozenset(each) - {"MATCHPOINT_HOST"} for each in of_service.values()} == {
        frozenset(of_service["web"]) - {"MATCHPOINT_HOST"}
    }
    environment = of_image | of_service["web"] | {"MATCHPOINT_STATIC_ROOT": str(tmp_path)}
    asked = [sys.executable, ROOT / "app/manage.py"]
    checked = run(
        [*asked, "check", "--deploy", "--fail-level", "WARNING"], env=environment | {"PATH": os.environ["PATH"]}
    )
    assert checked.returncode == 0, checked.stderr
    shown = run(
        [*asked, "shell", "--no-imports", "-c", "from django.conf import settings; print(settings.MIDDLEWARE[3])"],
        env=environment | {"PATH": os.environ["PATH"]},
    )
    assert "whitenoise" in shown.stdout, shown.stderr


def test_no_service_may_do_what_it_needs_not() -> None:
    wrong = []
    for name, service in SERVICES.items():
        if service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get("security_opt", []):
            wrong.append(f"{name}: keeps rights")
        if name in GAME and not service.get("read_only"):
            wrong.append(f"{name}: can write its own files")
        if not re.search(r":[\w.-]+\}$", service["image"]) and name not in GAME:
            wrong.append(f"{name}: {service['image']} is no version")
        for port in service.get("ports", []):
            asks_for_no_password = name in ("prometheus", "alertmanager")
            if not port.startswith("127.0.0.1:" if asks_for_no_password else "${PUBLISH_ADDRESS:-127.0.0.1}:"):
                wrong.append(f"{name}: {port} is published for everybody")
    assert not wrong


def test_nginx_takes_its_configuration(site: Any, tmp_path: Path) -> None:
    nginx = shutil.which("nginx", path=TOOLS)
    assert nginx, "`make test` fetches it"
    prepare(site)
    text = (ROOT / "docker/compose/nginx.conf").read_text()
    text = text.replace("/tmp/", f"{tmp_path}/").replace("/etc/nginx/tls", str(site.state / "tls"))
    sockets = count()  # ports may be taken
    text = re.sub(r"listen (8\d+)", lambda port: f"listen unix:{tmp_path}/{next(sockets)}", text)
    (tmp_path / "nginx.conf").write_text(text.replace("http2 on;", ""))  # Debian 12's nginx says it otherwise
    done = run([nginx, "-t", "-q", "-p", tmp_path, "-c", tmp_path / "nginx.conf"])
    assert done.returncode == 0, done.stderr


def test_prometheus_and_alertmanager_take_theirs(tmp_path: Path) -> None:
    for name in ("prometheus.yml", "expected.yml", "alertmanager.yml"):
        shutil.copy(ROOT / "docker/compose" / name, tmp_path)
    (tmp_path / "rules").symlink_to(ROOT / "monitoring/rules")
    for command in (
        ["promtool", "check", "config", tmp_path / "prometheus.yml"],
        ["amtool", "check-config", tmp_path / "alertmanager.yml"],
    ):
        done = run(command, env={"PATH": TOOLS})
        assert done.returncode == 0, done.stdout + done.stderr


def test_as_many_targets_are_expected_as_there_are() -> None:
    jobs = yaml.safe_load((ROOT / "docker/compose/prometheus.yml").read_text())["scrape_configs"]
    rules = yaml.safe_load((ROOT / "docker/compose/expected.yml").read_text())["groups"][0]["rules"]
    assert {rule["labels"]["job"]: rule["expr"] for rule in rules} == {
        job["job_name"]: f"vector({len(job['static_configs'])})" for job in jobs
    }
