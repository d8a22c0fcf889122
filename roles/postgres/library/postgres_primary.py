#!/usr/bin/python3
"""Roles, database and replication slots of a primary, in one exchange that the server writes down nowhere."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import stringprep
import unicodedata
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    import psycopg2
    from psycopg2 import sql
except ImportError:
    psycopg2 = None

DOCUMENTATION = """
module: postgres_primary
short_description: what a primary is to have, in its roles, a database and replication slots
description:
  - Runs as a superuser of the server, over its Unix socket, and changes what differs.
  - A password reaches the server as a SCRAM verifier alone, and statements of the session are neither logged nor
    counted. What earlier ones left in pg_stat_statements, which the exporter reads, is removed.
  - In check mode C(changes) says what would be changed, also where there is no database and no role yet.
options:
  roles:
    description: who may log in; C(replication) lets a role stream. None is superuser, or makes databases or roles.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {type: str, required: true}
      password: {type: str, required: true}
      replication: {type: bool, default: false}
  memberships:
    description: the groups that a role is in, with their rights
    type: list
    elements: dict
    default: []
    suboptions:
      role: {type: str, required: true}
      groups: {type: list, elements: str, required: true}
  database: {description: "made in UTF-8 from template0", type: str}
  owner: {description: the role that owns the database, type: str}
  extensions: {description: those in the database, type: list, elements: str}
  default_privileges:
    description: what a role may do with all that the owner makes in the database from now on
    type: list
    elements: dict
    suboptions:
      role: {type: str, required: true}
      objects: {type: str, required: true, choices: [TABLES, SEQUENCES]}
      privileges: {type: list, elements: str, required: true, choices: [SELECT, INSERT, UPDATE, DELETE, USAGE]}
  slots: {description: physical replication slots, type: list, elements: str, default: []}
  slot_prefix:
    description: slots that begin so, that nobody uses and that are not in C(slots) are dropped; none without it
    type: str
    default: ""
  socket: {description: folder of the server's socket, type: path, default: /var/run/postgresql}
  port: {description: its port, type: int, default: 5432}
  user: {description: the superuser to log in as, type: str, default: postgres}
"""

RETURN = """
changes: {description: what was changed, a sentence each, type: list, returned: always}
"""

# Before the first statement, so that not even those that would set it are recorded. Activity is what the exporter reads
# of a session that runs; objects are looked for where only superusers make any.
UNRECORDED = {
    "pg_stat_statements.track": "none",
    "track_activities": "off",
    "log_statement": "none",
    "log_duration": "off",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
    "log_min_error_statement": "panic",
    "search_path": "pg_catalog,pg_temp",
    "lock_timeout": "60s",
}

# https://www.rfc-editor.org/rfc/rfc5802#section-3, with PostgreSQL's number of rounds
ITERATIONS, SALT_BYTES = 4096, 16
VERIFIER = re.compile(r"SCRAM-SHA-256\$(\d+):([\w+/=]+)\$[\w+/=]+:[\w+/=]+", re.ASCII)
# https://www.rfc-editor.org/rfc/rfc4013#section-2.3 and 2.5
TABLES = ("c12", "c21", "c22", "c3", "c4", "c5", "c6", "c7", "c8", "c9", "a1")
FORBIDDEN = [getattr(stringprep, f"in_table_{name}") for name in TABLES]

ATTRIBUTES = """
SELECT rolname, rolpassword, ARRAY[rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication]
FROM pg_authid WHERE rolname = ANY (%s)
"""
ATTRIBUTE_NAMES = ("LOGIN", "SUPERUSER", "CREATEDB", "CREATEROLE", "REPLICATION")
MEMBERSHIPS = """
SELECT pg_get_userbyid(roleid) FROM pg_auth_members WHERE inherit_option AND pg_get_userbyid(member) = %s
"""
DATABASE = "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding) FROM pg_database WHERE datname = %s"
DEFAULT_PRIVILEGES = """
SELECT privilege_type FROM pg_default_acl, aclexplode(defaclacl)
WHERE defaclnamespace = 0 AND defaclobjtype = %s
  AND pg_get_userbyid(defaclrole) = %s AND pg_get_userbyid(grantee) = %s
"""
# The extension's own view and function, and none of their names: the owner of the database may have made others beside
# them, which a superuser must not call. The setting exists where the library is loaded.
STATISTICS = """
SELECT view.oid::regclass::text, reset.oid::regproc::text, reset.pronargs
FROM pg_extension extension
JOIN pg_depend a ON a.refclassid = 'pg_extension'::regclass AND a.refobjid = extension.oid AND a.deptype = 'e'
JOIN pg_class view ON a.classid = 'pg_class'::regclass AND view.oid = a.objid AND view.relname = extname
JOIN pg_depend b ON b.refclassid = 'pg_extension'::regclass AND b.refobjid = extension.oid AND b.deptype = 'e'
JOIN pg_proc reset ON b.classid = 'pg_proc'::regclass AND reset.oid = b.objid AND reset.pronargs >= 3
  AND reset.proname = 'pg_stat_statements_reset'
WHERE extname = 'pg_stat_statements' AND current_setting('pg_stat_statements.max', true) IS NOT NULL
"""
# A zero would stand for all of them
TELLING = r"""
SELECT DISTINCT userid, dbid, queryid FROM {view}
WHERE 0 NOT IN (userid::bigint, dbid::bigint, queryid)
  AND query ~* '\y(create|alter)\s+(role|user|group)\y.*\ypassword\y'
"""


class Wrong(Exception):
    """What could not be done and why, without a secret."""


def prepared(password: str) -> bytes:
    """What is hashed: the password by SASLprep or, where that forbids it, as it is.

    As PostgreSQL does it on both sides: what is forbidden is looked for before the normalisation.
    """
    raw = password.encode()
    if password.isascii():
        return raw
    spaced = (" " if stringprep.in_table_c12(one) else one for one in password)
    text = "".join(one for one in spaced if not stringprep.in_table_b1(one))
    if not text or any(table(one) for one in text for table in FORBIDDEN):
        return raw
    if any(map(stringprep.in_table_d1, text)):  # written from right to left
        is_whole = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
        if not is_whole or any(map(stringprep.in_table_d2, text)):
            return raw
    return unicodedata.normalize("NFKC", text).encode()


def verifier(password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """What the server keeps of a password, from which nobody can log in."""
    salted = hashlib.pbkdf2_hmac("sha256", prepared(password), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_text, stored_text, server_text = (base64.b64encode(one).decode() for one in (salt, stored, server))
    return f"SCRAM-SHA-256${iterations}:{salt_text}${stored_text}:{server_text}"


def is_of(kept: str | None, password: str) -> bool:
    """Whether what the server keeps is of this password."""
    found = VERIFIER.fullmatch(kept or "")
    if not found:
        return False
    return hmac.compare_digest(kept or "", verifier(password, base64.b64decode(found[2]), int(found[1])))


class Session:
    """A connection to one database."""

    def __init__(self, database: str, **where: Any) -> None:
        """Raises Wrong."""
        options = " ".join(f"-c {name}={value}" for name, value in UNRECORDED.items())
        try:
            self.connection = psycopg2.connect(dbname=database, options=options, connect_timeout=10, **where)
        except psycopg2.Error as error:
            raise Wrong(f"Database {database} does not open: {' '.join(str(error).split())}") from None
        self.connection.autocommit = True

    def run(self, failure: str, statement: str | sql.Composable, values: tuple = ()) -> list[tuple]:
        """The rows of the answer. Raises Wrong, which begins with ``failure``."""
        with self.connection.cursor() as cursor:
            try:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []
            except psycopg2.Error as error:
                reason = error.diag.message_primary or "the server closed the connection"
        # Not above: psycopg2's exception quotes the statement, and would be in the traceback of this one
        raise Wrong(f"{failure}: {reason}")


class Primary:
    def __init__(self, wanted: dict[str, Any], check_mode: bool) -> None:
        self.wanted = wanted
        self.check_mode = check_mode
        self.changes: list[str] = []
        self.sessions: list[Session] = []

    def open(self, database: str) -> Session:
        where = {"host": self.wanted["socket"], "port": self.wanted["port"], "user": self.wanted["user"]}
        self.sessions.append(Session(database, **where))
        return self.sessions[-1]

    def close(self) -> None:
        """The process may go on, for Mitogen's next task."""
        for session in self.sessions:
            session.connection.close()

    def look(self, session: Session | None, at: str, statement: str | sql.Composable, *values: Any) -> list[tuple]:
        """Rows; none from a database that there will only be."""
        return session.run(f"{at} could not be looked at", statement, values) if session else []

    def change(
        self, session: Session | None, what: str, how: str, statement: str, *values: Any, **parts: sql.Composable
    ) -> None:
        """Has ``what`` changed to what the participle ``how`` says, with ``parts`` in the place of names in braces."""
        if session and not self.check_mode:
            session.run(f"{what} could not be {how}", sql.SQL(statement).format(**parts), values)
        self.changes.append(f"{what} {'would be' if self.check_mode else 'was'} {how}.")

    def make(self) -> None:
        """Raises Wrong."""
        session = self.open("postgres")
        self.make_roles(session)
        for one in self.wanted["memberships"]:
            self.join(session, one["role"], one["groups"])
        if self.wanted["database"]:
            self.make_database(session, self.wanted["database"], self.wanted["owner"])
        self.make_slots(session, self.wanted["slots"], self.wanted["slot_prefix"])

    def make_roles(self, session: Session) -> None:
        roles = self.wanted["roles"]
        for role in roles:
            if not role["password"]:
                raise Wrong(f"Role {role['name']} has no password")
            if any("\ud800" <= one <= "\udfff" for one in role["password"]):
                raise Wrong(f"The password of role {role['name']} is not UTF-8")
        rows = self.look(session, "Roles", ATTRIBUTES, [role["name"] for role in roles])
        found = {name: (kept, attributes) for name, kept, attributes in rows}
        for role in roles:
            self.make_role(session, role, *found.get(role["name"], (None, None)))

    def make_role(
        self, session: Session, role: dict[str, Any], kept: str | None, attributes: list[bool] | None
    ) -> None:
        """Makes or repairs a role, with what the server keeps of its password and its attributes, None for no role."""
        what, name = f"Role {role['name']}", sql.Identifier(role["name"])
        wanted = (True, False, False, False, role["replication"])
        differ = [
            word if right else f"NO{word}"
            for word, right, is_right in zip(ATTRIBUTE_NAMES, wanted, attributes or [None] * len(wanted), strict=True)
            if right != is_right
        ]
        words = sql.SQL(" ".join(differ))
        secret = None if is_of(kept, role["password"]) else verifier(role["password"], os.urandom(SALT_BYTES))
        password = sql.Literal(secret)
        if attributes is None:
            statement = "CREATE ROLE {name} {words} PASSWORD {password}"
            self.change(session, what, "made", statement, name=name, words=words, password=password)
            return
        if differ:
            self.change(session, what, f"made {', '.join(differ)}", "ALTER ROLE {name} {words}", name=name, words=words)
        if secret:
            statement = "ALTER ROLE {name} PASSWORD {password}"
            self.change(session, f"The password of role {role['name']}", "set", statement, name=name, password=password)

    def join(self, session: Session, role: str, groups: list[str]) -> None:
        has = {group for (group,) in self.look(session, f"Groups of role {role}", MEMBERSHIPS, role)}
        for group in groups:
            if group not in has:
                self.change(
                    session, f"Role {role}", f"made a member of {group}", "GRANT {group} TO {role} WITH INHERIT TRUE",
                    group=sql.Identifier(group), role=sql.Identifier(role),
                )  # fmt: skip

    def make_database(self, session: Session, database: str, owner: str) -> None:
        what, names = f"Database {database}", {"name": sql.Identifier(database), "owner": sql.Identifier(owner)}
        found = self.look(session, what, DATABASE, database)
        if not found:
            statement = "CREATE DATABASE {name} OWNER {owner} ENCODING 'UTF8' TEMPLATE template0"
            self.change(session, what, "made", statement, **names)
        elif found[0][1] != "UTF8":
            raise Wrong(f"{what} is in {found[0][1]} and not in UTF8, which nobody can change: it has to be made anew")
        elif found[0][0] != owner:
            self.change(session, what, f"given to role {owner}", "ALTER DATABASE {name} OWNER TO {owner}", **names)
        inside = self.open(database) if found or not self.check_mode else None
        self.make_extensions(inside, what)
        for one in self.wanted["default_privileges"] or []:
            self.grant(inside, owner, **one)
        self.forget_passwords(inside)

    def make_extensions(self, session: Session | None, where: str) -> None:
        has = {name for (name,) in self.look(session, f"{where}'s extensions", "SELECT extname FROM pg_extension")}
        for name in self.wanted["extensions"] or []:
            if name not in has:
                statement = "CREATE EXTENSION {name} SCHEMA public"
                self.change(session, f"Extension {name}", "made", statement, name=sql.Identifier(name))

    def grant(self, session: Session | None, owner: str, role: str, objects: str, privileges: list[str]) -> None:
        kind = {"TABLES": "r", "SEQUENCES": "S"}[objects]
        rows = self.look(session, "Default privileges", DEFAULT_PRIVILEGES, kind, owner, role)
        missing = [one for one in privileges if (one,) not in rows]
        if missing:
            self.change(
                session, f"{', '.join(missing)} on new {objects} of role {owner}", f"granted to role {role}",
                "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT {privileges} ON {objects} TO {role}",
                owner=sql.Identifier(owner), role=sql.Identifier(role),
                privileges=sql.SQL(", ".join(missing)), objects=sql.SQL(objects),
            )  # fmt: skip

    def forget_passwords(self, session: Session | None) -> None:
        """Takes statements that set a password out of the statistics, whoever sent them."""
        for view, reset, arguments in self.look(session, "Extensions", STATISTICS):
            telling = sql.SQL(TELLING).format(view=sql.SQL(view))
            if count := len(self.look(session, "pg_stat_statements", telling)):
                # As many arguments as it has, so that it is no other of its name
                rest = sql.SQL(", false" * (arguments - 3))
                self.change(
                    session, f"What pg_stat_statements had of {count} statements with a password", "removed",
                    "SELECT {reset}(userid, dbid, queryid{rest}) FROM ({telling}) AS telling",
                    reset=sql.SQL(reset), rest=rest, telling=telling,
                )  # fmt: skip

    def make_slots(self, session: Session, wanted: list[str], prefix: str) -> None:
        statement = "SELECT slot_name, slot_type, active FROM pg_replication_slots"
        found = {
            name: (kind, is_active) for name, kind, is_active in self.look(session, "Replication slots", statement)
        }
        for name in wanted:
            if name not in found:
                # A slot takes no room before its standby has used it
                statement = "SELECT pg_create_physical_replication_slot(%s)"
                self.change(session, f"Replication slot {name}", "made", statement, name)
            elif found[name][0] != "physical":
                raise Wrong(f"Replication slot {name} is a {found[name][0]} one, which no standby can use")
        for name, (_, is_active) in found.items():
            if prefix and name.startswith(prefix) and name not in wanted and not is_active:
                statement = "SELECT pg_drop_replication_slot(%s)"
                self.change(session, f"Replication slot {name}", "dropped", statement, name)


class Module(AnsibleModule):
    def _log_invocation(self) -> None:
        """Nothing for the journal: it writes a list as Python does, and misses a password with a backslash in it."""


def main() -> None:
    text, texts = {"type": "str", "required": True}, {"type": "list", "elements": "str"}
    role = {
        "name": text,
        "password": {"type": "str", "required": True, "no_log": True},
        "replication": {"type": "bool", "default": False},
    }
    privileges = texts | {"required": True, "choices": ["SELECT", "INSERT", "UPDATE", "DELETE", "USAGE"]}
    grant = {"role": text, "objects": text | {"choices": ["TABLES", "SEQUENCES"]}, "privileges": privileges}
    membership = {"role": text, "groups": texts | {"required": True}}
    dicts = {"type": "list", "elements": "dict"}
    module = Module(
        argument_spec={
            "roles": dicts | {"default": [], "options": role},
            "memberships": dicts | {"default": [], "options": membership},
            "database": {"type": "str"},
            "owner": {"type": "str"},
            "extensions": texts,
            "default_privileges": dicts | {"options": grant},
            "slots": texts | {"default": []},
            "slot_prefix": {"type": "str", "default": ""},
            "socket": {"type": "path", "default": "/var/run/postgresql"},
            "port": {"type": "int", "default": 5432},
            "user": {"type": "str", "default": "postgres"},
        },
        required_by={"database": ["owner"], "extensions": ["database"], "default_privileges": ["database"]},
        supports_check_mode=True,
    )
    if psycopg2 is None:
        module.fail_json(msg=missing_required_lib("psycopg2"))
    primary = Primary(module.params, module.check_mode)
    fault = ""
    try:
        primary.make()
    except Wrong as error:
        fault = f"{error}."
    finally:
        primary.close()
    answer = {"changed": bool(primary.changes), "changes": primary.changes}
    if fault:
        module.fail_json(msg=fault, **answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
