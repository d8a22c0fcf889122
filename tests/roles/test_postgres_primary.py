"""Roles, database and slots are made what they are to be, on a server, and no password is written down by anybody."""

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql

from tests.conftest import poll
from tests.postgres import PROGRAMS, Server, serving
from tests.processes import run, started
from tests.roles.test_postgres_cluster import module
from tests.rules.model import ROOT

MODULE = ROOT / "roles/postgres/library/postgres_primary.py"
# Runs the module, and keeps what it would write to the journal
RUN = """
import runpy, sys
journal = sys.argv.pop()
from ansible.module_utils.basic import AnsibleModule
AnsibleModule.log = lambda self, msg, log_args=None: open(journal, "a").write(f"{msg} {log_args}\\n")
runpy.run_path(sys.argv.pop(), run_name="__main__")
"""
PASSWORDS = {
    "owner": "owner's secret",
    "app": 'app\\\'s "secret"',
    "exporter": "Ⅸ-ex porter",
    "stream": "stream-secret",
}
WANTED: dict[str, Any] = {
    "roles": [
        {"name": name, "password": password, "replication": name == "stream"} for name, password in PASSWORDS.items()
    ],
    "memberships": [{"role": "exporter", "groups": ["pg_monitor", "pg_use_reserved_connections"]}],
    "database": "game",
    "owner": "owner",
    "extensions": ["vector"],
    "default_privileges": [
        {"role": "app", "objects": "TABLES", "privileges": ["SELECT", "INSERT", "UPDATE", "DELETE"]},
        {"role": "app", "objects": "SEQUENCES", "privileges": ["USAGE", "SELECT"]},
    ],
    "slots": ["standby_db2"],
    "slot_prefix": "standby_",
}


class Primary:
    """A server that asks for passwords, and writes down all that it can."""

    def __init__(self, server: Server, journal: Path) -> None:
        self.server, self.journal = server, journal

    def make(self, *, alone: bool = False, **options: Any) -> dict[str, Any]:
        """What the module answers: of all that is wanted with these options, or of these alone."""
        arguments = {"socket": str(self.server.folder), "port": self.server.port, "user": "matchpoint"}
        arguments |= options if alone else WANTED | options
        command = [sys.executable, "-c", RUN, MODULE, self.journal]
        done = run(command, stdin=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        assert done.stdout, done.stderr
        self.said = done.stdout + done.stderr
        return json.loads(done.stdout)

    def connect(self, user: str, database: str, password: str = "") -> Any:
        return psycopg2.connect(
            host="127.0.0.1", port=self.server.port, user=user, dbname=database, password=password, connect_timeout=10
        )

    def ask(
        self, statement: Any, database: str = "postgres", user: str = "matchpoint", password: str = ""
    ) -> list[Any]:
        with closing(self.connect(user, database, password)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def lets_in(self, user: str, password: str) -> bool:
        try:
            return self.ask("SELECT current_user", "game", user, password) == [(user,)]
        except psycopg2.OperationalError as error:
            if "password authentication failed" in str(error):
                return False
            raise

    def slots(self) -> list[str]:
        return sorted(name for (name,) in self.ask("SELECT slot_name FROM pg_replication_slots"))

    def roles(self) -> list[str]:
        return [name for (name,) in self.ask("SELECT rolname FROM pg_roles WHERE oid >= 16384 ORDER BY 1")]

    def empty(self) -> None:
        self.ask("DROP DATABASE IF EXISTS game WITH (FORCE)")
        for name in self.roles():
            self.ask(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
        self.ask("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")

    def log(self) -> str:
        return (self.server.folder / "log").read_text()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        with (server.folder / "postgresql.conf").open("a") as settings:
            settings.write("log_statement = all\nlog_min_duration_statement = 0\nlog_transaction_sample_rate = 1\n")
        rules = ["local all,replication matchpoint trust", "host all matchpoint 127.0.0.1/32 trust"]
        access = "\n".join([*rules, "host all all 127.0.0.1/32 scram-sha-256", ""])
        (server.folder / "pg_hba.conf").write_text(access)
        server.stop()
        server.start()
        yield server


@pytest.fixture
def primary(server: Server, tmp_path: Path) -> Iterator[Primary]:
    primary = Primary(server, tmp_path / "journal")
    yield primary
    primary.empty()


def test_all_is_made_from_nothing_and_again_nothing(primary: Primary) -> None:
    first = primary.make()
    assert first["changed"]
    assert first["changes"] == [
        *(f"Role {name} was made." for name in PASSWORDS),
        "Role exporter was made a member of pg_monitor.",
        "Role exporter was made a member of pg_use_reserved_connections.",
        "Database game was made.",
        "Extension vector was made.",
        "SELECT, INSERT, UPDATE, DELETE on new TABLES of role owner was granted to role app.",
        "USAGE, SELECT on new SEQUENCES of role owner was granted to role app.",
        "Replication slot standby_db2 was made.",
    ]
    again = primary.make()
    assert (again["changed"], again["changes"]) == (False, [])
    attributes = "rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication"
    rows = primary.ask(f"SELECT rolname, {attributes} FROM pg_roles WHERE oid >= 16384")
    assert {name: rights for name, *rights in rows} == {
        name: [True, False, False, False, name == "stream"] for name in PASSWORDS
    }
    assert primary.ask("SELECT pg_get_userbyid(datdba), encoding FROM pg_database WHERE datname = 'game'") == [
        ("owner", 6)
    ]
    primary.ask("CREATE TABLE kept (id serial)", "game", "owner", PASSWORDS["owner"])
    primary.ask("INSERT INTO kept DEFAULT VALUES", "game", "app", PASSWORDS["app"])
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        primary.ask("CREATE TABLE mine ()", "game", "app", PASSWORDS["app"])


def test_each_password_opens_its_role_and_no_other(primary: Primary) -> None:
    """Also one that is normalised before it is hashed."""
    primary.make()
    assert {name: primary.lets_in(name, password) for name, password in PASSWORDS.items()} == dict.fromkeys(
        PASSWORDS, True
    )
    assert primary.lets_in("exporter", "IX-ex porter"), "by SASLprep this is the same"
    assert not primary.lets_in("app", PASSWORDS["owner"])


def test_a_password_that_is_another_one_is_set(primary: Primary) -> None:
    primary.make()
    primary.ask("ALTER ROLE app PASSWORD 'before'; ALTER ROLE exporter PASSWORD NULL")
    primary.ask(f"SET password_encryption = 'md5'; ALTER ROLE stream PASSWORD '{PASSWORDS['stream']}'")
    assert primary.lets_in("app", "before")
    changes = [f"The password of role {name} was set." for name in ("app", "exporter", "stream")]
    assert primary.make()["changes"] == changes
    assert primary.lets_in("app", PASSWORDS["app"])
    assert not primary.lets_in("app", "before")
    assert not primary.make()["changed"]


def test_passwords_are_prepared_as_the_server_does_it(primary: Primary) -> None:
    """The server hashes each itself, and the module says whether what it kept is of that password."""
    loaded = module("postgres_primary")
    passwords = [
        "plain", "a\\b'c\"d$1%s", "tab\tand\x7f", "ünïcode", "u\u0308", "Ⅸ", "\ufb01\u00a0\u3000x", "a\u00adb\u200bc",
        "\u00ad", "😀", "x\u0221", "\u0627\u0628", "\u06271", "1\u0627", "\u0627a\u0628", "\u0627\u0031\u0628",
        "\ue000x", "\u200ex", "\u0340", "Å", "㌀", "\u2028", "İ", "ß", " ", "\u00a0", "\U000e0001x", "\ufffdx",
    ]  # fmt: skip
    primary.ask("CREATE ROLE app LOGIN")
    seen = {}
    for password in passwords:
        statement = sql.SQL("SET client_encoding = 'UTF8'; ALTER ROLE app PASSWORD {}").format(sql.Literal(password))
        primary.ask(statement)
        ((kept,),) = primary.ask("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'")
        seen[password] = loaded.is_of(kept, password), loaded.is_of(kept, f"{password}x")
    assert {password: said for password, said in seen.items() if said != (True, False)} == {}


def test_what_somebody_changed_is_changed_back(primary: Primary) -> None:
    primary.make()
    for statement in (
        "ALTER ROLE app SUPERUSER CREATEDB",
        "ALTER ROLE owner NOLOGIN CREATEROLE REPLICATION",
        "ALTER ROLE stream NOREPLICATION",
        "REVOKE pg_monitor FROM exporter",
        "GRANT pg_use_reserved_connections TO exporter WITH INHERIT FALSE",
        "ALTER DATABASE game OWNER TO app",
        "DROP EXTENSION vector",
        "ALTER DEFAULT PRIVILEGES FOR ROLE owner REVOKE DELETE ON TABLES FROM app",
        "ALTER DEFAULT PRIVILEGES FOR ROLE owner REVOKE ALL ON SEQUENCES FROM app",
    ):
        primary.ask(statement, "game")
    changes = [
        "Role owner was made LOGIN, NOCREATEROLE, NOREPLICATION.",
        "Role app was made NOSUPERUSER, NOCREATEDB.",
        "Role stream was made REPLICATION.",
        "Role exporter was made a member of pg_monitor.",
        "Role exporter was made a member of pg_use_reserved_connections.",
        "Database game was given to role owner.",
        "Extension vector was made.",
        "DELETE on new TABLES of role owner was granted to role app.",
        "USAGE, SELECT on new SEQUENCES of role owner was granted to role app.",
    ]
    told = primary.make(_ansible_check_mode=True)["changes"]
    assert [one.replace("would be", "was") for one in told] == changes
    assert primary.make()["changes"] == changes
    assert not primary.make()["changed"]


@pytest.fixture
def used(primary: Primary, tmp_path: Path) -> Iterator[str]:
    """A slot that somebody streams from."""
    primary.ask("SELECT pg_create_physical_replication_slot('standby_used')")
    where = ["-h", primary.server.folder, "-p", str(primary.server.port), "-U", "matchpoint", "-D", tmp_path]
    with started([PROGRAMS / "pg_receivewal", *where, "-S", "standby_used"]):
        poll(
            lambda: primary.ask("SELECT 1 FROM pg_replication_slots WHERE active"),
            within_s=30,
            what="a slot that is used",
        )
        yield "standby_used"
    poll(lambda: not primary.ask("SELECT 1 FROM pg_replication_slots WHERE active"), within_s=30, what="its end")


def test_slots_that_nobody_uses_are_dropped_and_all_others_kept(primary: Primary, used: str) -> None:
    for name in ("standby_gone", "standby_db2", "backup"):
        primary.ask(f"SELECT pg_create_physical_replication_slot('{name}')")
    slots = {"slots": ["standby_db2", "standby_db3"], "slot_prefix": "standby_"}
    told = primary.make(alone=True, _ansible_check_mode=True, **slots)["changes"]
    assert told == ["Replication slot standby_db3 would be made.", "Replication slot standby_gone would be dropped."]
    assert primary.slots() == ["backup", "standby_db2", "standby_gone", used]
    assert primary.make(alone=True, **slots)["changes"] == [one.replace("would be", "was") for one in told]
    assert primary.slots() == ["backup", "standby_db2", "standby_db3", used]
    assert not primary.make(alone=True, **slots)["changed"]
    assert not primary.make(alone=True)["changed"], "without a prefix none is dropped"
    assert primary.roles() == []


def test_check_mode_says_what_would_be_made_of_an_empty_server(primary: Primary) -> None:
    told = primary.make(_ansible_check_mode=True)
    assert (primary.roles(), primary.slots()) == ([], [])
    assert primary.ask("SELECT 1 FROM pg_database WHERE datname = 'game'") == []
    assert told["changed"]
    assert [one.replace("would be", "was") for one in told["changes"]] == primary.make()["changes"]


def test_no_password_is_written_down(primary: Primary) -> None:
    """Nor what the server keeps of it; not by the server, which logs every statement, nor by Ansible at -vvv."""
    written = len(primary.log())
    marked = "made by somebody"
    wrong = [{"role": "app", "groups": ["nobody"]}]
    for options in ({"_ansible_check_mode": True}, {}, {}, {"memberships": wrong}):
        primary.make(_ansible_verbosity=3, **options)
        answers = primary.said
        kept = [one for (one,) in primary.ask("SELECT rolpassword FROM pg_authid WHERE rolpassword <> ''")]
        primary.ask(f"SELECT '{marked}'")
        log = primary.log()[written:]
        assert marked in log
        assert "CREATE ROLE" not in log
        journal = primary.journal.read_text() if primary.journal.exists() else ""
        for secret in (*PASSWORDS.values(), *kept, "SCRAM"):
            spellings = {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1]}
            found = {where for one in spellings for where in (log, answers, journal) if one in where}
            assert not found, f"{secret} is written down"


def test_a_failure_names_what_failed_and_tells_no_secret(primary: Primary) -> None:
    primary.make()
    primary.ask(
        "CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not today'; END$$", "game"
    )
    primary.ask("CREATE EVENT TRIGGER no ON ddl_command_start EXECUTE FUNCTION no()", "game")
    said = primary.make(extensions=["vector", "nothing"])
    assert said["failed"]
    assert said["msg"] == "Extension nothing could not be made: not today."
    said = primary.make(slots=["Upper"])
    assert said["msg"].startswith('Replication slot Upper could not be made: replication slot name "Upper" contains')
    roles = [*WANTED["roles"], {"name": "pg_nobody", "password": "to be seen nowhere"}]
    written = len(primary.log())
    said = primary.make(roles=roles)
    assert said["msg"] == 'Role pg_nobody could not be made: role name "pg_nobody" is reserved.'
    assert "SCRAM" not in primary.said
    assert "is reserved" in primary.log()[written:]
    assert "SCRAM" not in primary.log()[written:]
    assert "to be seen nowhere" not in primary.said
    said = primary.make(socket="/nowhere")
    assert said["msg"].startswith("Database postgres does not open: ")
    assert primary.make(roles=[{"name": "app", "password": ""}])["msg"] == "Role app has no password."


def test_a_database_in_another_encoding_is_refused(primary: Primary) -> None:
    primary.ask("CREATE DATABASE game ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    assert "is in LATIN1 and not in UTF8" in primary.make()["msg"]


# The extension is in no wheel: a view and a function, of a table, that the catalogues say are its own
STATISTICS = """
CREATE SCHEMA statistics;
CREATE TABLE statistics.kept (userid oid, dbid oid, queryid bigint, query text);
CREATE VIEW statistics.pg_stat_statements AS SELECT * FROM statistics.kept;
CREATE FUNCTION statistics.pg_stat_statements_reset(oid, oid, bigint, boolean DEFAULT false) RETURNS void LANGUAGE sql
  AS 'DELETE FROM statistics.kept WHERE ($1, $2, $3) = (userid, dbid, queryid)';
SET allow_system_table_mods = on;
INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
  SELECT 424242, 'pg_stat_statements', 10, oid, false, '1.11' FROM pg_namespace WHERE nspname = 'statistics';
ALTER EXTENSION pg_stat_statements ADD VIEW statistics.pg_stat_statements;
ALTER EXTENSION pg_stat_statements ADD FUNCTION statistics.pg_stat_statements_reset(oid, oid, bigint, boolean);
GRANT ALL ON SCHEMA statistics TO owner;
"""
# What an owner could leave there for a superuser to call
TRAP = """
CREATE FUNCTION statistics.pg_stat_statements_reset(oid, oid, bigint) RETURNS void LANGUAGE plpgsql
  AS $$BEGIN ALTER ROLE owner SUPERUSER; END$$;
"""


def test_statements_that_told_a_password_are_forgotten(primary: Primary) -> None:
    primary.make()
    primary.ask(STATISTICS, "game")
    primary.ask(TRAP, "game", "owner", PASSWORDS["owner"])
    told = [
        "CREATE USER \"app\" WITH ENCRYPTED PASSWORD 'secret' NOSUPERUSER",
        "alter\n role app\n password 'secret'",
        "DO $$BEGIN CREATE ROLE app PASSWORD 'secret'; END$$",
    ]
    others = ["ALTER ROLE app NOSUPERUSER", "UPDATE auth_user SET password = $1", "CREATE TABLE password_role ()"]
    rows = [(10, 5, number, query) for number, query in enumerate([*told, *others], 1)]
    values = sql.SQL(", ").join(sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, row))) for row in rows)
    primary.ask(sql.SQL("INSERT INTO statistics.kept VALUES {}").format(values), "game")
    assert not primary.make()["changed"], "the library is not loaded, so the view would fail"
    primary.ask('ALTER DATABASE game SET "pg_stat_statements.max" = 5000')
    change = "What pg_stat_statements had of 3 statements with a password was removed."
    assert primary.make(_ansible_check_mode=True)["changes"] == [change.replace("was", "would be")]
    assert primary.make()["changes"] == [change]
    assert [query for (query,) in primary.ask("SELECT query FROM statistics.kept ORDER BY queryid", "game")] == others
    assert not primary.make()["changed"]
    assert primary.ask("SELECT rolsuper FROM pg_roles WHERE rolname = 'owner'") == [(False,)]
