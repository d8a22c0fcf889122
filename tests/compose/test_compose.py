"""The site in containers, really started: `make test-compose`. Its tests go on from one another, in this order."""

import json
import re
import socket
import ssl
import stat
from collections.abc import Iterator
from http.client import HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any

import docker
import pytest
import requests

from tests.conftest import ENVIRONMENT, ROOT, poll
from tests.processes import run

PROJECT = "compose-test"
ADDRESS = "127.0.0.77"  # all of 127.0.0.0/8 is this machine: a site or a lab that is published is not in the way
NAME = "matchpoint.localhost"
STATE = ROOT / ".compose" / PROJECT
OWN = Path("/run/matchpoint-lab/docker.sock")  # the lab's engine, where the machine has none
APP = ["web", "live1", "live2", "housekeeping"]
pytestmark = pytest.mark.timeout(1500)


def make(*words: str, code: int = 0) -> str:
    command = ["make", "-C", str(ROOT), *words, f"PROJECT={PROJECT}", f"ADDRESS={ADDRESS}"]
    done = run(command, timeout_s=1200, env=ENVIRONMENT)
    said = done.stdout + done.stderr
    assert (done.returncode != 0) == (code != 0), f"{' '.join(words)} exited {done.returncode}:\n{said[-6000:]}"
    return said


def up() -> str:
    return make("compose-up", "MONITORING=1")


@pytest.fixture(scope="module")
def said() -> Iterator[str]:
    """What the first start said."""
    try:
        yield up()
    finally:
        if STATE.exists():
            make("compose-down", "DATA=delete")


@pytest.fixture(scope="module")
def client(said: str) -> docker.DockerClient:
    engine = ROOT / ".lab/engine.env"
    found = re.search(r"DOCKER_HOST=(\S+)", engine.read_text() if engine.exists() else "")
    for url in [found[1]] if found else [None, f"unix://{OWN}"]:
        try:
            client = docker.DockerClient(base_url=url) if url else docker.from_env()
            client.ping()
        except docker.errors.DockerException:
            continue
        return client
    raise AssertionError("no Docker engine answers")


def boxes(client: docker.DockerClient) -> dict[str, Any]:
    found = client.containers.list(all=True, filters={"label": f"com.docker.compose.project={PROJECT}"})
    return {box.labels["com.docker.compose.service"]: box for box in found}


def get(path: str, **headers: str) -> HTTPResponse:
    context = ssl.create_default_context(cafile=str(STATE / "ca.pem"))
    connection = HTTPSConnection(NAME, timeout=20)
    connection.sock = context.wrap_socket(socket.create_connection((ADDRESS, 443), timeout=20), server_hostname=NAME)
    connection.request("GET", path, headers=headers)
    return connection.getresponse()


def prometheus(path: str) -> Any:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"http://127.0.0.1:9090/api/v1/{path}", timeout=10).json()["data"]


def test_a_match_is_played_through_nginx(said: str) -> None:
    assert re.search(r"^Match \w+: \d:\d in ", said, re.MULTILINE)


def test_the_game_can_change_nothing_of_itself(client: docker.DockerClient) -> None:
    there = boxes(client)
    for name in APP:
        code, out = there[name].exec_run(
            ["sh", "-c", "id -u; grep CapEff /proc/self/status; touch /x /opt/matchpoint/current/app/x; true"]
        )
        assert code == 0
        text = out.decode()
        assert re.search(r"^10001$", text, re.MULTILINE), name
        assert re.search(r"CapEff:\s+0+$", text, re.MULTILINE), name
        assert text.count("Read-only file system") == 2, name
    image = client.images.get(there["web"].attrs["Image"])
    secrets = re.findall(r"^\w+(?:PASSWORD|KEY)=(.+)$", (STATE / "env").read_text(), re.MULTILINE)
    assert len(secrets) == 6
    about = json.dumps(image.attrs) + json.dumps(image.history())
    assert not [secret for secret in secrets if secret in about]


def test_secrets_are_their_owners_alone(said: str) -> None:
    modes = {name: stat.S_IMODE((STATE / name).stat().st_mode) for name in (".", "env", "authority.json")}
    assert modes == {".": 0o700, "env": 0o600, "authority.json": 0o600}


def test_static_files_come_compressed_and_to_keep(client: docker.DockerClient) -> None:
    page = get("/").read().decode()
    style = re.search(r'/static/[^"]+\.css', page)
    assert style
    answer = get(style[0], **{"Accept-Encoding": "br"})
    assert (answer.status, answer.headers["Content-Encoding"]) == (200, "br")
    assert "immutable" in answer.headers["Cache-Control"]
    assert [get(path).status for path in ("/metrics", "/readyz", "/ws/live3-8000/match/a")] == [404, 404, 404]


def test_every_container_is_watched_and_nothing_but_the_heartbeat_fires(client: docker.DockerClient) -> None:
    def targets() -> dict[str, str]:
        return {one["labels"]["instance"]: one["health"] for one in prometheus("targets")["activeTargets"]}

    poll(lambda: list(targets().values()) == ["up"] * 5, within_s=60, what="five targets that are up")
    poll(
        lambda: {one["labels"]["alertname"] for one in prometheus("alerts")["alerts"]} == {"Watchdog"},
        within_s=90,
        what="the heartbeat, and no other alert",
    )


def test_a_match_is_played_without_one_live_worker_and_the_next_start_brings_it_back(
    client: docker.DockerClient,
) -> None:
    make("compose", "ARGS=stop live1")
    bot = [".venv/bin/python", "-m", "live.bot", "--url", f"https://{NAME}", "--ca", str(STATE / "ca.pem")]
    done = run([*bot, "--connect-to", ADDRESS], cwd=ROOT, env=ENVIRONMENT | {"PYTHONPATH": "app"}, timeout_s=200)
    assert done.returncode == 0, done.stderr
    before = (STATE / "env").read_text()
    up()
    assert (STATE / "env").read_text() == before
    assert boxes(client)["live1"].status == "running"
    assert "No migrations to apply" in boxes(client)["migrate"].logs().decode()


def test_data_stay_without_their_consent_and_passwords_that_are_lost_are_missed(client: docker.DockerClient) -> None:
    assert boxes(client)
    make("compose-down")
    assert not running("ps", "--all", "--filter", f"label=com.docker.compose.project={PROJECT}")
    kept = (STATE / "env").rename(STATE / "lost")
    said = make("compose-up", code=2)
    assert "There are data of an earlier site (postgres, valkey, live1, live2)" in said
    assert "make compose-down DATA=delete" in said
    kept.rename(STATE / "env")
    assert "it can be delete" in make("compose-down", "DATA=yes", code=2)
    (STATE / "env").unlink()
    make("compose-down", "DATA=delete")
    assert not STATE.exists()
    assert poll(
        lambda: not running("volume", "ls", "--filter", f"name={PROJECT}_"), within_s=5, what="the end of the volumes"
    )


def running(*words: str) -> list[str]:
    """What an engine has. One of the lab's own ends with its last container: then nothing runs."""
    where = {"DOCKER_HOST": f"unix://{OWN}"} if OWN.exists() else {}
    done = run(["docker", *words, "--quiet"], env=ENVIRONMENT | where)
    return done.stdout.split() if done.returncode == 0 else []
