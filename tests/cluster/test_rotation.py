"""Secrets are changed while people play, and the old ones open nothing any more. After the drills, on their cluster."""

import os
import sys

import pytest

from tests.cluster.drills import Releases
from tests.cluster.load import Load, primary, unharmed
from tests.conftest import ROOT, Lab
from tests.processes import run

NAMES = ("app_key", "postgres_app", "postgres_exporter", "valkey_app", "valkey_exporter")


def psql(lab: Lab, user: str, password: str) -> str:
    """What the database says to somebody with a password."""
    ask = f"PGPASSWORD={password} psql -XAtq -h 127.0.0.1 -U matchpoint_{user} matchpoint -c 'select 1' 2>&1 || true"
    return lab.run(primary(lab), ask)


def valkey(lab: Lab, user: str, password: str) -> str:
    ask = f"valkey-cli --no-auth-warning --user {user} --pass {password} ping 2>&1 || true"
    return lab.run(lab.hosts("cache")[0], ask)


def canary(lab: Lab, key: str) -> str:
    """What the game says to somebody with its key."""
    site = ["--url", "https://matchpoint.localhost", "--connect-to", lab.address(lab.hosts("edge")[0])]
    command = [sys.executable, "-m", "live.bot", *site, "--ca", str(lab.state / "root-ca.pem"), "--canary"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "app"), "MATCHPOINT_SECRET_KEY": key}
    done = run(command, env=environment, timeout_s=120)
    return done.stdout + done.stderr


def test_players_do_not_notice_that_secrets_change_and_old_ones_are_refused(
    lab: Lab, releases: Releases, load: Load
) -> None:
    old = {name: lab.secret(name) for name in NAMES}
    with load.window("rotation of the secrets"):
        lab.make("rotate-secrets", releases.working("second"))
    unharmed(load.judge("rotation of the secrets"))
    new = {name: lab.secret(name) for name in NAMES}
    for user in ("app", "exporter"):
        assert psql(lab, user, new[f"postgres_{user}"]) == "1"
        assert "authentication failed" in psql(lab, user, old[f"postgres_{user}"])
        assert "WRONGPASS" in valkey(lab, user, old[f"valkey_{user}"])
        assert "WRONGPASS" not in valkey(lab, user, new[f"valkey_{user}"])
    assert "must be a fresh permission" in canary(lab, old["app_key"])
    assert "must be a fresh permission" not in canary(lab, new["app_key"])


def test_what_cannot_be_changed_is_refused_and_nothing_is(lab: Lab) -> None:
    before = (lab.state / "secrets.yml").read_text()
    with pytest.raises(AssertionError) as failure:
        lab.make("rotate-secrets", "NAME=app_key,backup_passphrase")
    assert "give backups another place" in " ".join(str(failure.value).split())
    assert (lab.state / "secrets.yml").read_text() == before
