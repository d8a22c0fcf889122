"""Production starts with everything it needs, or says what is missing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from matchpoint.settings import environment
from matchpoint.settings.environment import postgres
from tests.processes import run

APP = Path(__file__).parents[3] / "app"
PRODUCTION = {
    "MATCHPOINT_ENV": "production",
    "MATCHPOINT_DOMAIN": "pong.example.com",
    "MATCHPOINT_SECRET_KEY": "kT7vQ2mX9sLw4ZpR8nBd6HfJ3cYg5AeUxK1oVrMtSiEbNjPzWqDu",
    "MATCHPOINT_DATABASE_URL": "postgres://matchpoint:hunter2@127.0.0.1:5432/matchpoint",
    "MATCHPOINT_VALKEY_URL": "redis://matchpoint:hunter2@127.0.0.1:6379/0",
    "MATCHPOINT_EMAIL_URL": "smtp://mail.example.com:25",
}
REQUIRED = [name for name in PRODUCTION if name != "MATCHPOINT_ENV"]


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MATCHPOINT_")}
    settings = {"DJANGO_SETTINGS_MODULE": "matchpoint.settings"}
    return run([sys.executable, *arguments], env=clean | environment | settings, cwd=APP)


def load(**environment: str) -> subprocess.CompletedProcess[str]:
    return python("-c", "import matchpoint.settings", **environment)


@pytest.mark.parametrize("name", REQUIRED)
def test_production_names_the_missing_variable_and_an_example(name: str) -> None:
    done = load(**{key: value for key, value in PRODUCTION.items() if key != name})
    assert done.returncode != 0
    message = done.stderr.splitlines()[-1]
    assert f"{name} is not set" in message
    assert f"for example {name}=" in message


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MATCHPOINT_DOMAIN", "https://pong.example.com", "'https://pong.example.com'; it must be a bare host name"),
        ("MATCHPOINT_DATABASE_URL", "mysql://matchpoint:hunter2@127.0.0.1/matchpoint", "is mysql://…"),
        ("MATCHPOINT_DATABASE_URL", "hunter2", "is a value without ://"),
        ("MATCHPOINT_DATABASE_URL", "postgres://matchpoint:hunter2@127.0.0.1:port/matchpoint", "cannot be read: not"),
        ("MATCHPOINT_VALKEY_URL", "http://:hunter2@127.0.0.1", "is http://…"),
        ("MATCHPOINT_EMAIL_URL", "", "is empty"),
        ("MATCHPOINT_EMAIL_DOOR", "127.0.0.1", "is '127.0.0.1'; it must be host:port"),
        ("MATCHPOINT_ALERTMANAGER_URLS", "http://127.0.0.1:9093,127.0.0.2:9093", "is a value without ://"),
        ("MATCHPOINT_ENV", "prod", "is 'prod'; it must be production, play, test or build"),
    ],
)
def test_a_malformed_variable_is_named_without_its_password(name: str, value: str, said: str) -> None:
    done = load(**PRODUCTION | {name: value})
    assert done.returncode != 0
    message = done.stderr.splitlines()[-1]
    assert f"{name} {said}" in message or f"{name} is {said}" in message
    assert "hunter2" not in message


def test_the_deploy_check_is_clean_in_production() -> None:
    done = python("manage.py", "check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no issues" in done.stdout


def test_production_derives_the_site_from_its_domain() -> None:
    names = ("MATCHPOINT_ORIGIN", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "EMAIL_HOST", "EMAIL_PORT", "RELEASE_ID")
    code = f"import json, matchpoint.settings as s; print(json.dumps([getattr(s, n) for n in {names}]))"
    origin, hosts, csrf, email_host, email_port, release = json.loads(python("-c", code, **PRODUCTION).stdout)
    assert origin == "https://pong.example.com"
    assert csrf == [origin]
    assert hosts == ["pong.example.com", "localhost", "127.0.0.1", "[::1]"]
    assert (email_host, email_port) == ("mail.example.com", 25)
    assert release == "dev"


def test_a_release_tells_its_version_its_commit_and_whether_there_were_changes_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "APP_DIR", tmp_path / "app")
    assert (environment.release().full_version, environment.release().revision) == ("dev", "")
    about = {"release": "3f9c2a7d10be", "version": "0.2.0", "commit": "a" * 40, "changes": True, "files": {}}
    (tmp_path / "manifest.json").write_text(json.dumps(about))
    found = environment.release()
    assert (found.full_version, found.revision) == ("0.2.0+3f9c2a7d10be", "aaaaaaaaaaaa-dirty")


def test_the_monitoring_hosts_are_a_list_that_may_be_empty() -> None:
    code = "import json, matchpoint.settings as s; print(json.dumps([s.PROMETHEUS_URLS, s.ALERTMANAGER_URLS]))"
    urls = {"MATCHPOINT_PROMETHEUS_URLS": "http://127.65.0.1:9090, http://127.66.0.1:9090/"}
    assert json.loads(python("-c", code, **PRODUCTION | urls).stdout) == [
        ["http://127.65.0.1:9090", "http://127.66.0.1:9090"],
        [],
    ]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgres://u:p@127.0.0.1:5432/db", ("127.0.0.1", "5432", "u", "p", "db", {})),
        ("postgresql://u:p%40%2F@db.example.com/db", ("db.example.com", "5432", "u", "p@/", "db", {})),
        (
            "postgres://u:p@192.0.2.1:5432,192.0.2.2:5433/db?target_session_attrs=read-write&sslmode=verify-full",
            (
                "192.0.2.1,192.0.2.2", "5432,5433", "u", "p", "db",
                {"target_session_attrs": "read-write", "sslmode": "verify-full"},
            ),
        ),
        (
            "postgres://u@[2001:db8::1]:6432,[2001:db8::2]/db",
            ("2001:db8::1,2001:db8::2", "6432,5432", "u", "", "db", {}),
        ),
        ("postgres://u@%2Frun%2Fpostgresql/db", ("/run/postgresql", "5432", "u", "", "db", {})),
    ],
)  # fmt: skip
def test_a_database_may_have_several_hosts(url: str, expected: tuple[Any, ...]) -> None:
    settings = postgres(url)
    assert tuple(settings[name] for name in ("HOST", "PORT", "USER", "PASSWORD", "NAME", "OPTIONS")) == expected


def test_production_reaches_the_host_that_can_be_written_to() -> None:
    url = "postgres://u:p@192.0.2.1:5432,192.0.2.2:5432/db?target_session_attrs=read-write&connect_timeout=3"
    code = "import json, matchpoint.settings as s; print(json.dumps(s.DATABASES['default']))"
    database = json.loads(python("-c", code, **PRODUCTION | {"MATCHPOINT_DATABASE_URL": url}).stdout)
    assert database["HOST"] == "192.0.2.1,192.0.2.2"
    assert database["OPTIONS"]["target_session_attrs"] == "read-write"
    assert database["OPTIONS"]["connect_timeout"] == "3", "the URL has the last word"
    assert "statement_timeout=5000" in database["OPTIONS"]["options"]


def test_static_files_are_collected_without_services_or_secrets(tmp_path: Path) -> None:
    environment = {"MATCHPOINT_ENV": "build", "MATCHPOINT_STATIC_ROOT": str(tmp_path)}
    done = python("manage.py", "collectstatic", "--noinput", **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "staticfiles.json").exists()
    assert list(tmp_path.glob("admin/css/base.*.css"))


def test_migrations_match_the_models() -> None:
    done = python("manage.py", "makemigrations", "--check", "--dry-run", MATCHPOINT_ENV="test")
    assert done.returncode == 0, done.stdout


def test_the_imprint_comes_from_the_environment_whatever_is_in_it() -> None:
    done = python(
        "-c", "from django.conf import settings as s; print([s.IMPRINT, s.CONTACT, s.DELETION_DAYS, s.BACKUP_DAYS])",
        **PRODUCTION, MATCHPOINT_IMPRINT="Ada%20%26%20O%27Hara%2C%20Ltd,K%C3%B6ln",
        MATCHPOINT_CONTACT="hello%40example.com", MATCHPOINT_DELETION_DAYS="30", MATCHPOINT_BACKUP_DAYS="35",
    )  # fmt: skip
    assert done.stdout.strip() == str([["Ada & O'Hara, Ltd", "Köln"], "hello@example.com", 30, 35]), done.stderr


def test_no_neighbouring_name_can_set_a_cookie_that_counts() -> None:
    found = "{name: value for name, value in vars(s).items() if 'COOKIE_NAME' in name}"
    code = f"import json, matchpoint.settings as s; print(json.dumps({found}))"
    names = json.loads(python("-c", code, **PRODUCTION).stdout)
    assert {"SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "GUEST_COOKIE_NAME", "DEVICE_COOKIE_NAME"} <= names.keys()
    assert [name for name, value in names.items() if not value.startswith("__Host-")] == []


OPENID = {"ISSUER": "https%3A//login.example.com/realms/site/", "CLIENT_ID": "pong", "CLIENT_SECRET": "a%27b"}


def test_an_issuer_by_the_environment_alone_opens_the_way_to_it() -> None:
    code = """if True:
        import django; django.setup()
        from django.conf import settings; from django.urls import reverse
        app = settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"][0]
        print(app["name"], app["secret"], app["settings"]["server_url"], reverse("openid_connect_login", args=["site"]))
    """
    told = python("-c", code, **PRODUCTION, **{f"MATCHPOINT_OPENID_{name}": value for name, value in OPENID.items()})
    way = "https://login.example.com/realms/site /accounts/openid/site/"
    assert told.stdout.split("\n")[-2] == f"login.example.com a'b {way}", told.stderr


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"MATCHPOINT_OPENID_ISSUER": "http://login.example.com"}, "must be a URL that begins with https://"),
        ({"MATCHPOINT_OPENID_ISSUER": "login.example.com"}, "must be a URL that begins with https://"),
        ({"MATCHPOINT_OPENID_ISSUER": "https://a.example.com"}, "MATCHPOINT_OPENID_CLIENT_ID is empty"),
        ({"MATCHPOINT_SECURITY_CONTACT": "call us"}, "must be an address of mail or an https:// page"),
        ({"MATCHPOINT_SECURITY_CONTACT": "http://example.com"}, "must be an address of mail or an https:// page"),
    ],
)
def test_a_half_setting_is_refused_by_name(wrong: dict[str, str], told: str) -> None:
    done = python("-c", "import matchpoint.settings", **PRODUCTION, **wrong)
    assert done.returncode != 0
    assert told in done.stderr
    assert next(iter(wrong)) in done.stderr
