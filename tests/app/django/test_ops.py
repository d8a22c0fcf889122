"""Health, logs, the cache without Valkey, and the commands of operators."""

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.test import Client
from fakeredis import TcpFakeServer
from redis import Redis
from redis.exceptions import OutOfMemoryError

from accounts.models import User
from matchpoint.cache import TolerantRedisCache
from matchpoint.logs import LineFormatter
from ops.health import DatabaseCheck, ReadinessProbe, Results


async def ok() -> Results:
    return {"valkey": "ok"}


@pytest.mark.parametrize("host", ["testserver", "localhost", "127.0.0.1", "198.51.100.7:8001"])
def test_the_process_says_that_it_lives(client: Client, host: str) -> None:
    response = client.get("/livez", headers={"host": host})
    assert (response.status_code, response.content) == (200, b"ok\n")


def test_browsers_find_the_icon(client: Client) -> None:
    assert client.get("/favicon.ico").headers["Location"] == "/static/img/favicon.svg"


def test_foreign_hosts_are_refused(client: Client) -> None:
    assert client.get("/", headers={"host": "evil.example.com"}).status_code == 400


@pytest.mark.django_db
async def test_readiness_names_each_check() -> None:
    readiness = await ReadinessProbe({"database": DatabaseCheck(), "valkey": ok}).ask()
    assert readiness.checks == {"database": "ok", "migrations": "ok", "valkey": "ok"}
    assert readiness.is_ready


@pytest.mark.django_db
def test_a_missing_migration_makes_the_process_unready(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db.migrations.recorder import MigrationRecorder

    applied = MigrationRecorder.applied_migrations

    def without_matches(self: MigrationRecorder) -> object:
        return {key: value for key, value in applied(self).items() if key[0] != "matches"}

    monkeypatch.setattr(MigrationRecorder, "applied_migrations", without_matches)
    assert asyncio.run(DatabaseCheck()())["migrations"].endswith("not applied, first matches.0001_initial")


async def test_a_failing_check_makes_the_process_unready() -> None:
    async def fail() -> Results:
        raise OperationalError("connection refused, password=hunter2")

    readiness = await ReadinessProbe({"database": fail, "valkey": ok}).ask()
    assert not readiness.is_ready
    assert readiness.checks == {"database": "OperationalError", "valkey": "ok"}


async def test_a_check_that_hangs_is_given_up_in_time() -> None:
    release = threading.Event()

    async def hang() -> Results:
        await asyncio.to_thread(release.wait, 30)
        return {"database": "ok"}

    started = asyncio.get_running_loop().time()
    readiness = await ReadinessProbe({"database": hang, "valkey": ok}).ask()
    release.set()
    assert asyncio.get_running_loop().time() - started < 2
    assert readiness.checks == {"database": "no answer within 1 s", "valkey": "ok"}


async def test_an_answer_holds_for_a_second_however_many_ask() -> None:
    asked = 0
    now = 100.0

    async def count() -> Results:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return {"database": "ok"}

    probe = ReadinessProbe({"database": count}, clock=lambda: now)
    await asyncio.gather(*(probe.ask() for _ in range(10)))
    assert asked == 1
    now += 0.9
    await probe.ask()
    assert asked == 1
    now += 0.2
    await probe.ask()
    assert asked == 2


def test_the_readiness_page_is_503_with_the_reason(
    client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def draining() -> Results:
        return {"draining": "hands its matches over"}

    monkeypatch.setattr("ops.views.probe", ReadinessProbe({"valkey": ok, "draining": draining}))
    response = client.get("/readyz", headers={"host": "127.0.0.1"})
    assert response.status_code == 503
    assert capsys.readouterr().out == ""  # asked every few seconds: no line for each
    assert response.json() == {
        "ready": False,
        "release": "dev",
        "checks": {"valkey": "ok", "draining": "hands its matches over"},
    }


def line(message: str, **extra: object) -> str:
    record = logging.makeLogRecord({"levelname": "INFO", "name": "matches", "msg": message} | extra)
    return LineFormatter().format(record)


def test_a_log_record_is_one_line_of_keys_and_values() -> None:
    assert line("done", match="k3x", mode="ai") == "level=INFO logger=matches message=done match=k3x mode=ai"
    assert line('say "hi"\nlevel=ERROR') == r'level=INFO logger=matches message="say \"hi\"\nlevel=ERROR"'
    assert line("done", match="").endswith('match=""')
    assert line("done", level="hard", logger="x") == "level=INFO logger=matches message=done"  # no field hides another


def test_a_traceback_stays_on_its_line() -> None:
    try:
        raise RuntimeError("broken")
    except RuntimeError as error:
        text = line("failed", exc_info=(type(error), error, error.__traceback__))
    assert "\n" not in text
    assert "RuntimeError: broken" in text


def test_without_valkey_the_cache_is_empty_and_forgets() -> None:
    cache = TolerantRedisCache("redis://127.0.0.1:1/0", {"OPTIONS": {"socket_connect_timeout": 0.2}})
    assert cache.get("key", "default") == "default"
    cache.set("key", "value", 60)
    assert cache.add("key", 1) is True
    assert cache.incr("key") == 1
    assert cache.get_many(["key"]) == {}
    assert "key" not in cache
    cache.delete("key")


class CountingServer(TcpFakeServer):
    accepted = 0

    def process_request(self, request: Any, client_address: Any) -> None:
        self.accepted += 1
        super().process_request(request, client_address)


@pytest.fixture
def valkey() -> Iterator[CountingServer]:
    server = CountingServer(("127.0.0.1", 0))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_requests_share_the_connections_to_valkey(valkey: CountingServer) -> None:
    location = f"redis://127.0.0.1:{valkey.server_address[1]}/0"
    kept = [TolerantRedisCache(location, {}) for _ in range(5)]  # one a request, as Django makes them under ASGI
    for number, cache in enumerate(kept):
        cache.set("key", number)
    assert kept[0].get("key") == 4
    assert valkey.accepted == 1


def test_a_full_valkey_is_like_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")

    monkeypatch.setattr(Redis, "execute_command", refuse)
    cache = TolerantRedisCache("redis://127.0.0.1:1/1", {})
    cache.set("key", "value")
    assert cache.add("key", 1) is True


STAFF = {"MATCHPOINT_STAFF_USERNAME": "grace", "MATCHPOINT_STAFF_EMAIL": "grace@example.com"}


def create_staff(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    for name, value in (STAFF | environment).items():
        monkeypatch.setenv(name, value)
    out = StringIO()
    call_command("create_staff", stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_the_first_administrator_gets_a_link_to_set_a_password(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    text = create_staff(monkeypatch)
    assert text.startswith("created: grace is an administrator of http://testserver\n")
    path = text.split("Next: Set a password at http://testserver")[1].splitlines()[0]
    form_path = client.get(path, follow=True).redirect_chain[-1][0]
    client.post(form_path, {"password1": "a better horse 43", "password2": "a better horse 43"})
    response = client.post("/accounts/login/", {"login": "grace", "password": "a better horse 43"}, follow=True)
    assert response.redirect_chain[-2][0] == "/accounts/2fa/totp/activate/"  # which asks for the password once more
    assert response.status_code == 200


@pytest.mark.django_db
def test_creating_staff_again_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    create_staff(monkeypatch, MATCHPOINT_STAFF_PASSWORD="correct horse 42")
    password = User.objects.get().password
    assert create_staff(monkeypatch, MATCHPOINT_STAFF_PASSWORD="another horse 43").startswith("unchanged: ")
    assert User.objects.get().password == password


@pytest.mark.django_db
def test_an_existing_account_is_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    user = User.objects.create_user("grace", password="correct horse 42")
    EmailAddress.objects.create(user=user, email="grace@example.com", verified=True)
    assert create_staff(monkeypatch).startswith("promoted: ")
    user = User.objects.get()
    assert user.is_staff
    assert user.check_password("correct horse 42")


@pytest.mark.django_db
def test_a_stranger_under_the_name_of_an_administrator_is_not_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    user = User.objects.create_user("Grace", email="grace@example.com", password="correct horse 42")
    EmailAddress.objects.create(user=user, email="grace@example.com", verified=False)  # anybody can claim that
    with pytest.raises(CommandError, match="has not confirmed the address"):
        create_staff(monkeypatch)
    assert not User.objects.filter(is_staff=True).exists()


@pytest.mark.django_db
def test_an_address_that_is_taken_makes_no_second_account(monkeypatch: pytest.MonkeyPatch) -> None:
    user = User.objects.create_user("ada", email="grace@example.com")
    EmailAddress.objects.create(user=user, email="grace@example.com", verified=True)
    with pytest.raises(CommandError, match="belongs to another account"):
        create_staff(monkeypatch)
    assert User.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"MATCHPOINT_STAFF_PASSWORD": "123"}, "too short"),
        ({"MATCHPOINT_STAFF_EMAIL": "nonsense"}, "valid email"),
        ({"MATCHPOINT_STAFF_USERNAME": ""}, "MATCHPOINT_STAFF_USERNAME=ada"),
    ],
)
def test_create_staff_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str
) -> None:
    with pytest.raises(CommandError, match=said):
        create_staff(monkeypatch, **environment)
    assert not User.objects.exists()


def test_json_errors_of_the_api_are_json(client: Client) -> None:
    assert json.loads(client.get("/api/nothing").content)["error"] == "not-found"
