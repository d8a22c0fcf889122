"""The audit sees what it looks for, and a check that breaks or cannot look is not one that passed."""

import base64
import json
import sys
from pathlib import Path

from tests.audit.__main__ import attempted, table
from tests.audit.canaries import found
from tests.audit.target import ROOT, Row, Target, middle
from tests.processes import run, started

SECRET = "hQ7zT1kVx93LmNpWc5RyUe2AoDsFgJbK8iZuYt4w"
KEY = (
    "-----BEGIN OPENSSH PRIVATE KEY-----\nsame in every key\nof this one alone\n=\n-----END OPENSSH PRIVATE KEY-----\n"
)


def patterns() -> dict[str, str]:
    target = object.__new__(Target)  # without an inventory
    target.__dict__["secrets"] = {"postgres_app": SECRET, "backup_key": middle(KEY)}
    return target.patterns


def test_a_secret_is_found_as_it_is_and_inside_of_base64_wherever_it_begins() -> None:
    assert found(patterns(), f"password '{SECRET}'".encode()) == ["postgres_app"]
    assert found(patterns(), KEY.encode()) == ["backup_key"]
    for user in ("a:", "ab:", "abc:"):
        for after in ("", "x", "xy"):
            coded = base64.b64encode(f"{user}{SECRET}{after}".encode())
            assert found(patterns(), coded) == ["postgres_app in base64"], (user, after)
    assert found(patterns(), b"nothing of the kind") == []


def test_a_host_is_searched_for_files_arguments_and_what_commands_say(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(SECRET)
    (tmp_path / "log").chmod(0o600)
    source = (ROOT / "tests/audit/search.py").read_text()
    looked = f"""
with tempfile.NamedTemporaryFile("w", dir="/dev/shm") as file:
    file.write("\\n".join(PATTERNS)); file.flush()
    told = stream(file.name, "cat", {str(tmp_path / "log")!r})
    files = grep(file.name, "-rl", {str(tmp_path)!r}).decode()
    print(json.dumps([told, stream(file.name, "false"), files, processes()[0]]))
"""
    library = source.partition("\n\nif PATTERNS:")[0]
    program = f"PATTERNS = {json.dumps(patterns())}\n{library}\n{looked}"
    with started([sys.executable, "-c", "import sys; sys.stdin.read()", SECRET], stdin=-1) as careless:
        done = run([sys.executable, "-"], stdin=program)
    assert done.returncode == 0, done.stderr
    told, silent, files, processes = json.loads(done.stdout)
    assert told == ["postgres_app"]
    assert silent == ["false could not be asked, exit code 1"]
    assert files.split() == [str(tmp_path / "log")]
    assert f"argv of {careless.pid} (postgres_app)" in processes


def test_a_check_that_breaks_has_failed_and_the_table_says_what_did() -> None:
    def breaks(target: Target) -> list[Row]:
        raise OSError("no such tool")

    rows = attempted("tls", breaks, object.__new__(Target))
    rows += [Row("lynis", "passed", "90"), Row("advisories", "skipped", "none answers")]
    shown = table(rows)
    assert "failed   tls         the check itself broke: OSError: no such tool" in shown
    assert shown.endswith("1 passed, 1 failed, 1 skipped: tls\n")
