"""No secret stands where something records it. The site's own are looked for: each is random, like no other text."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from tests.audit.target import CACHE, ROOT, NoSecrets, Row, Target, judged, said_by
from tests.conftest import ENVIRONMENT
from tests.processes import run

PLACES = {
    "files": "secrets: files of hosts",
    "journal": "secrets: journals",
    "processes": "secrets: arguments and environments of processes",
    "statements": "secrets: statements that PostgreSQL remembers",
    "metrics": "secrets: metrics and what monitoring tells of its settings",
    "backups": "secrets: what describes backups",
}
OUTPUT = CACHE / "deploy-vvv.log"
# Where this machine keeps what it made of a site; the state of labs is where secrets live
KEPT = [".cache/ansible", ".cache/releases", ".cache/lanes", ".cache/tmp", "ansible", "inventories", "docs"]


def on_hosts(target: Target) -> list[Row]:
    try:
        patterns = target.patterns
    except NoSecrets as reason:
        return [Row(name, "skipped", str(reason)) for name in PLACES.values()]
    source = f"PATTERNS = {json.dumps(patterns)}\n{(Path(__file__).parent / 'search.py').read_text()}"
    answers = {name: json.loads(target.feed(name, "exec python3 -", source, timeout_s=1200)) for name in target.hosts()}
    rows = []
    for place, check in PLACES.items():
        told = {name: answer[place] for name, answer in answers.items() if answer[place] is not None}
        faults = [f"{name}: {what}" for name, found in told.items() for what in found]
        faults += [f"{name}: found in no file at all, so the search is blind" for name, answer in answers.items()
                   if place == "files" and not answer["known"]]  # fmt: skip
        if not told:
            rows.append(Row(check, "skipped", "no host has it"))
            continue
        looked = f"{len(patterns)} patterns on {', '.join(told)}"
        if place == "files":
            looked += "; they stand in " + ", ".join(
                sorted({path for one in answers.values() for path in one["known"]})
            )
        if place == "processes":
            looked += "; " + ", ".join(str(answer["looked at"]) for answer in answers.values())
        rows.append(judged(check, faults, looked))
    return rows


def on_this_machine(target: Target) -> list[Row]:
    """What Ansible says of a deploy when it says all it can, and what it leaves here; releases, unpacked."""
    try:
        patterns = target.patterns
    except NoSecrets as reason:
        return [Row("secrets: this machine", "skipped", str(reason))]
    lab = f"LAB={os.environ.get('MATCHPOINT_LAB', 'matchpoint')}"
    command = ["make", "deploy", f"INVENTORY={target.inventory}", lab, "ARGS=-vvv", "REASON=audit"]
    done = run(command, cwd=ROOT, env=ENVIRONMENT, timeout_s=1800)
    OUTPUT.write_text(said := done.stdout + done.stderr)
    os.chmod(OUTPUT, 0o600)
    if done.returncode:
        return [
            Row("secrets: Ansible's output at -vvv", "failed", f"the deploy ended with {done.returncode}: {OUTPUT}")
        ]
    rows = [
        judged("secrets: Ansible's output at -vvv", found(patterns, said.encode()), f"{len(said.splitlines())} lines")
    ]
    faults, looked = [], 0
    paths = [path for folder in KEPT for path in (ROOT / folder).rglob("*")]
    for path in [*paths, *Path.home().glob(".ansible/**/*"), *Path("/tmp").glob("ansible*/**/*")]:
        if path.is_file() and not path.is_symlink() and path.suffix != ".zst":
            faults += [f"{path}: {what}" for what in found(patterns, path.read_bytes())]
            looked += 1
    rows.append(judged("secrets: facts, caches and settings here", faults, f"{looked} files"))
    return [*rows, releases(patterns)]


def releases(patterns: dict[str, str]) -> Row:
    check, faults = "secrets: release artefacts", []
    zstd = shutil.which("zstd")
    if zstd is None:
        return Row(check, "skipped", "there is no zstd on this machine")
    archives = sorted((ROOT / ".cache/releases").rglob("*.tar.zst"))
    for path in archives:
        done = said_by([zstd, "--decompress", "--stdout", path], text=False)
        faults += [f"{path.name}: {what}" for what in found(patterns, done.stdout)]
        faults += [f"{path.name}: cannot be unpacked"] * (done.returncode != 0)
    return (
        judged(check, faults, f"{len(archives)} archives") if archives else Row(check, "skipped", "none was built here")
    )


def found(patterns: dict[str, str], data: bytes) -> list[str]:
    return sorted({name for text, name in patterns.items() if text.encode() in data})
