"""What is special with PostgreSQL, on one of the test's own: connections that are kept, and migrations.

No request gets a dead or a read-only connection, and each goes to whichever host is the primary.
"""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from django.db import InternalError, OperationalError
from django.db.utils import ConnectionHandler

from matchpoint.postgresql import base
from matchpoint.settings.environment import postgres
from tests.conftest import poll
from tests.postgres import Server, free_port, serving
from tests.processes import Program, output, start
from tests.rules.model import role_value

APP = Path(__file__).parents[3] / "app"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


class Database:
    """The database as the threads of a process have it."""

    def __init__(self, *ports: int, **options: str) -> None:
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        query = "&".join(f"{name}={value}" for name, value in {"connect_timeout": "2", **options}.items())
        settings = postgres(f"postgres://matchpoint@{hosts}/postgres?{query}")
        self.settings = {**settings, "ENGINE": "matchpoint.postgresql"}
        self.connections = ConnectionHandler({"default": self.settings})

    def ask(self, sql: str) -> Any:
        """What one request does, in a thread that ends with it."""

        def request() -> Any:
            connection = self.connections["default"]
            try:
                with connection.cursor() as cursor:
                    cursor.execute(sql)
                    return cursor.fetchone()[0] if cursor.description else None
            finally:
                connection.close()

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(request).result()

    @property
    def pid(self) -> int:
        """The server's process at the other end."""
        found: int = self.ask("SELECT pg_backend_pid()")
        return found


@pytest.fixture(autouse=True)
def _nothing_waits(django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():  # these databases are not Django's own
        yield
    for idle in base.DatabaseWrapper.idle.values():
        idle.close()
    base.DatabaseWrapper.reached.clear()


@pytest.fixture
def untrusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every connection had waited for a while."""
    monkeypatch.setattr(base, "TRUSTED_S", 0.0)


def test_either_password_opens_the_database_while_it_is_changed(server: Server, untrusted: None) -> None:
    """A worker that knows both goes on whichever the server asks for; one that knows the old one alone does not."""
    database = Database(server.port)
    for statement in ("SET password_encryption = 'scram-sha-256'", "CREATE ROLE changing LOGIN PASSWORD 'old'"):
        database.ask(statement)
    rules = server.folder / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"host all changing 127.0.0.1/32 scram-sha-256\n{before}")
    database.ask("SELECT pg_reload_conf()")
    both, old = Database(server.port), Database(server.port)
    both.settings.update(USER="changing", PASSWORD="old", OTHER_PASSWORD="new")
    old.settings.update(USER="changing", PASSWORD="old")
    try:
        assert both.pid
        assert old.pid
        database.ask("ALTER ROLE changing PASSWORD 'new'")
        base.DatabaseWrapper.idle["default"].close()
        assert both.pid
        base.DatabaseWrapper.idle["default"].close()
        with pytest.raises(OperationalError, match="authentication failed"):
            _ = old.pid
    finally:
        base.DatabaseWrapper.idle["default"].close()
        rules.write_text(before)
        database.ask("SELECT pg_reload_conf()")
        database.ask("DROP ROLE changing")


def test_requests_in_threads_of_their_own_share_a_connection(server: Server, untrusted: None) -> None:
    database = Database(server.port)
    assert len({database.pid for _ in range(5)}) == 1


def test_a_process_with_thousands_of_open_files_gets_its_connections_back(server: Server, untrusted: None) -> None:
    database = Database(server.port)
    files = []
    try:
        files += [os.open("/dev/null", os.O_RDONLY) for _ in range(1500)]
        assert len({database.pid for _ in range(100)}) == 1
    finally:
        for file in files:
            os.close(file)


def test_requests_at_the_same_time_have_a_connection_each_and_few_are_kept(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "IDLE_MAX", 2)
    database = Database(server.port)
    together = threading.Barrier(4)

    def request() -> int:
        connection = database.connections["default"]
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            found: int = cursor.fetchone()[0]
            together.wait(20)
        connection.close()
        return found

    with ThreadPoolExecutor(4) as threads:
        assert len({request.result() for request in [threads.submit(request) for _ in range(4)]}) == 4
    assert len(base.DatabaseWrapper.idle["default"]._waiting) == 2


def test_a_connection_that_grew_old_is_not_used_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(server.port)
    before = database.pid
    monkeypatch.setattr(base, "AGE_S", 0.0)
    assert database.pid != before


def test_after_a_restart_of_the_server_no_request_fails(server: Server) -> None:
    database = Database(server.port)
    before = database.pid
    server.stop()
    server.start()
    assert database.pid != before


def test_a_connection_to_a_server_that_became_read_only_is_dropped(server: Server, untrusted: None) -> None:
    database = Database(server.port)
    before = database.pid
    database.ask("SET default_transaction_read_only = on")
    assert database.ask("SELECT pg_backend_pid()") != before


def test_a_write_that_meets_a_read_only_server_costs_that_connection(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "TRUSTED_S", 60.0)  # it has just become so
    database = Database(server.port)
    before = database.pid
    database.ask("SET default_transaction_read_only = on")
    with pytest.raises(InternalError, match="read-only"):
        database.ask("CREATE TABLE never (id int)")
    assert database.pid != before


def test_nothing_of_a_request_is_left_for_the_next(server: Server) -> None:
    database = Database(server.port)

    def abandon() -> int:
        connection = database.connections["default"]
        connection.set_autocommit(False)
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE half (id int)")
            cursor.execute("SELECT pg_backend_pid()")
            found: int = cursor.fetchone()[0]
        connection.close()
        return found

    with ThreadPoolExecutor(1) as thread:
        before = thread.submit(abandon).result()
    assert database.pid != before
    assert database.ask("SELECT to_regclass('half')") is None


def test_of_several_hosts_the_one_that_can_be_written_to_is_used(server: Server) -> None:
    database = Database(free_port(), server.port, target_session_attrs="read-write")
    assert database.ask("SELECT inet_server_port()") == server.port

    database.ask("ALTER SYSTEM SET default_transaction_read_only = on")
    database.ask("SELECT pg_reload_conf()")
    try:
        for idle in base.DatabaseWrapper.idle.values():
            idle.close()
        with pytest.raises(OperationalError, match="read-only"):
            Database(server.port, target_session_attrs="read-write").ask("SELECT 1")
    finally:
        plain = Database(server.port)
        plain.ask("ALTER SYSTEM RESET default_transaction_read_only")
        plain.ask("SELECT pg_reload_conf()")


def migrate(server: Server, name: str, *options: str) -> Program:
    """`manage.py migrate` on a database of its own name."""
    connection = psycopg2.connect(host="127.0.0.1", port=server.port, user="matchpoint", dbname="postgres")
    connection.autocommit = True
    with closing(connection), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if cursor.fetchone() is None:
            cursor.execute(f"CREATE DATABASE {name}")
    return manage(server, name, "migrate", "--no-color", *options)


def manage(server: Server, name: str, *arguments: str) -> Program:
    environment = os.environ | {
        "MATCHPOINT_ENV": "test",
        "MATCHPOINT_DATABASE_URL": f"postgres://matchpoint@127.0.0.1:{server.port}/{name}",
    }
    return start(
        [sys.executable, str(APP / "manage.py"), *arguments],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def outcome(process: Program) -> tuple[int, str]:
    out, err = output(process, timeout_s=100)
    return process.returncode, out + err


def test_a_host_that_closes_what_it_accepts_is_passed_over(server: Server) -> None:
    """As the mesh does in front of a database that is down."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def hang_up() -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=hang_up, daemon=True).start()
        dead = listener.getsockname()[1]
        database = Database(dead, server.port, target_session_attrs="read-write")
        assert database.ask("SELECT inet_server_port()") == server.port
        base.DatabaseWrapper.idle["default"].close()
        with pytest.raises(OperationalError):
            Database(dead, target_session_attrs="read-write").ask("SELECT 1")


@pytest.fixture(scope="module")
def other_server() -> Iterator[Server]:
    with serving() as server:
        yield server


def test_a_frozen_server_is_left_for_another_one(
    server: Server, other_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "ANSWER_S", 0.3)
    monkeypatch.setattr(base, "TRUSTED_S", 60.0)
    database = Database(other_server.port, server.port, target_session_attrs="read-write")
    assert database.ask("SELECT inet_server_port()") == other_server.port
    with other_server.frozen():
        with pytest.raises(OperationalError, match=r"did not answer within 0\.3 s"):
            database.ask("SELECT inet_server_port()")
        assert base.DatabaseWrapper.reached["default"] == 1, "the next search begins elsewhere"
        assert database.ask("SELECT inet_server_port()") == server.port


def test_a_frozen_server_costs_one_deadline_however_many_connections_wait(
    server: Server, other_server: Server, untrusted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "CONNECT_S", 0.3)
    database = Database(other_server.port, server.port, target_session_attrs="read-write", connect_timeout="1")
    together = threading.Barrier(4)

    def request() -> None:
        connection = database.connections["default"]
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        together.wait(20)
        connection.close()

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(request) for _ in range(4)]:
            done.result()
    idle = base.DatabaseWrapper.idle["default"]
    assert len(idle._waiting) == 4
    with other_server.frozen():
        assert idle.take() is None
        assert idle._waiting == []
        assert database.ask("SELECT inet_server_port()") == server.port, "nor is it waited for while connecting"


def test_a_commit_that_waits_for_a_standby_is_given_up_with_its_outcome_unknown(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's own timeout does not count while it waits, and to cancel it would say yes to what one host has."""
    database = Database(server.port, options="-c statement_timeout=100")
    database.ask("CREATE TABLE saved (id int)")
    database.ask("ALTER SYSTEM SET synchronous_standby_names = 'gone'")
    server.reload()
    try:
        poll(lambda: database.ask("SHOW synchronous_standby_names") == "gone", within_s=20, what="the setting")
        base.DatabaseWrapper.idle["default"].close()
        monkeypatch.setattr(base, "ANSWER_S", 0.5)
        with pytest.raises(OperationalError, match="did not answer"):
            database.ask("INSERT INTO saved VALUES (1)")
    finally:
        monkeypatch.undo()
        database.ask("ALTER SYSTEM RESET synchronous_standby_names")
        server.reload()
    poll(lambda: database.ask("SELECT count(*) FROM saved") == 1, within_s=20, what="the commit, which was only slow")


def test_migrations_that_are_started_together_run_one_after_the_other(server: Server) -> None:
    migrate(server, "together", "--plan").communicate(timeout=240)
    outcomes = [outcome(process) for process in [migrate(server, "together") for _ in range(2)]]
    assert [status for status, _ in outcomes] == [0, 0], outcomes
    applied = [text.count("Applying matches.0001_initial") for _, text in outcomes]
    assert sorted(applied) == [0, 1], "each migration once"


@pytest.fixture
def busy(server: Server) -> Iterator[Any]:
    """A session that gets in the way of others, in a migrated database."""
    assert outcome(migrate(server, "busy"))[0] == 0
    connection = psycopg2.connect(host="127.0.0.1", port=server.port, user="matchpoint", dbname="busy")
    with closing(connection), connection.cursor() as cursor:
        yield cursor


def test_the_audit_trail_keeps_what_it_has(busy: Any) -> None:
    """Whoever has taken over a worker cannot take back what is known of it."""
    add = (
        "INSERT INTO audit_entry (at, kind, name, what) VALUES (now() - %s::interval, 'login', 'ada', '') RETURNING id"
    )
    busy.execute(add, ["364 days"])
    for statement in ("UPDATE audit_entry SET name = 'bob'", "DELETE FROM audit_entry"):
        busy.execute("SAVEPOINT before")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="stay as they are"):
            busy.execute(statement)
        busy.execute("ROLLBACK TO before")
    busy.execute(add, ["367 days"])
    busy.execute("DELETE FROM audit_entry WHERE id = %s", busy.fetchone())
    busy.execute("SELECT count(*) FROM audit_entry")
    assert busy.fetchone() == (1,)


def test_a_result_does_not_wait_for_rows_that_refer_to_its_players(server: Server, busy: Any) -> None:
    """As those of a refold do until it ends, which may wait for the result."""
    busy.execute(
        "INSERT INTO accounts_user (username, password, first_name, last_name, email, display_name, public_id,"
        " is_active, is_staff, is_superuser, date_joined)"
        " VALUES ('ada', '', '', '', '', '', 'ada', true, false, false, now()) RETURNING id"
    )
    (pk,) = busy.fetchone()
    busy.connection.commit()
    busy.execute("SELECT 1 FROM accounts_user WHERE id = %s FOR KEY SHARE", [pk])  # a foreign key's check
    script = f"""
from django.db import connection, transaction
from live.records import PlayerSpec
from matches.services import _existing_user_ids
with transaction.atomic(), connection.cursor() as cursor:
    cursor.execute("SET LOCAL lock_timeout = '1s'")
    print("found", _existing_user_ids([PlayerSpec(side=0, kind="human", identity="u:{pk}", name="")]))
"""
    status, text = outcome(manage(server, "busy", "shell", "--command", script))
    assert status == 0, text
    assert f"found {{{pk}}}" in text


def test_a_migration_gives_way_where_a_table_is_busy(server: Server, busy: Any) -> None:
    busy.execute("LOCK TABLE django_migrations IN ACCESS EXCLUSIVE MODE")
    status, text = outcome(migrate(server, "busy"))
    assert status == 1
    assert "trying again (1 of 3)" in text
    assert "A table was busy 4 times for 2 s" in text
    assert "Traceback" not in text


def test_a_migration_that_waits_for_another_one_says_for_whom(server: Server, busy: Any) -> None:
    from ops.management.commands.migrate import LOCK

    busy.execute("SELECT pg_advisory_lock(%s)", [LOCK])
    status, text = outcome(migrate(server, "busy", "--lock-wait", "1"))
    assert status == 1
    assert "Waiting for another migration (process " in text
    assert "did not end within 1 s" in text


def test_a_statement_that_takes_too_long_is_taken_back(server: Server, busy: Any) -> None:
    busy.execute("DELETE FROM django_migrations WHERE app = 'sessions'")  # on which no other one depends
    busy.execute("DROP TABLE django_session")
    busy.execute("CREATE FUNCTION dawdle() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(30); END'")
    busy.execute("CREATE EVENT TRIGGER dawdle ON ddl_command_start EXECUTE FUNCTION dawdle()")
    busy.connection.commit()
    status, text = outcome(migrate(server, "busy", "--statement-timeout", "1"))
    busy.execute("DROP EVENT TRIGGER dawdle")
    busy.connection.commit()
    assert status == 1
    assert "took longer than 1 s and was taken back" in text
    assert outcome(migrate(server, "busy"))[0] == 0


def test_a_deploy_hears_what_a_reload_was_refused_for(server: Server) -> None:
    """The server goes on as before, and says yes to the signal."""
    folder = server.folder / "reload"
    (folder / "conf.d").mkdir(parents=True)
    question = role_value("postgres", "__postgres_refusals", __postgres_conf=str(folder))
    settings, access = folder / "conf.d/20-matchpoint.conf", folder / "pg_hba.conf"
    (server.folder / "postgresql.auto.conf").write_text(f"include '{settings}'\nhba_file = '{access}'\n")
    access.write_text("local all all trust\nhost all all 127.0.0.1/32 trust\n")
    settings.write_text("work_mem = '5MB'\n")
    server.stop()
    server.start()

    def said() -> list[str]:
        server.reload()
        with closing(psycopg2.connect(f"host=127.0.0.1 port={server.port} user=matchpoint dbname=postgres")) as one:
            cursor = one.cursor()
            cursor.execute(question)
            return [line for (line,) in cursor.fetchall()]

    assert said() == []
    settings.write_text("work_mem = 'abc'\n")
    access.write_text(access.read_text() + "nonsense\n")
    wrong = said()
    assert f"{settings}, line 1: work_mem: setting could not be applied" in wrong
    assert [line for line in wrong if line.startswith(f"{access}, line 3: ")]
    settings.write_text("work_mem = '6MB'\nmax_connections = 77\n")  # the second waits for a restart
    access.write_text("local all all trust\nhost all all 127.0.0.1/32 trust\n")
    poll(lambda: not said(), within_s=20, what="the server to take what is right")
