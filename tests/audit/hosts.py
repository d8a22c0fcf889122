"""What is asked of hosts: lynis, and the promises that `make verify` tests, by file."""

from __future__ import annotations

import io
import re
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from tests.audit.target import CACHE, PACKAGES, Row, Target, judged, said_by

LYNIS_LEAST = 80
# Warnings that may be there, and why
LYNIS_MAY_WARN = {
    "NAME-4028": "the name of a host is the operator's",
    "FILE-6310": "partitions are the operator's, and a container has none",
    "LOGG-2154": "logs go to another host where an operator says so",
    "PKGS-7392": "updates come at night, and a cache of packages may be a day behind",
    "DBS-1828": "Debian's own files, without a secret; those that the role writes with one are closed",
    "TIME-3185": "containers have the clock of their machine; HostClockWrong is a ticket elsewhere",
    "KRNL-5830": "reboots are the operator's (`make reboot`)",
}
# What is said in the table, and the tests that say it
PROMISES = {
    "exposure, limits and OOM order of units": ["test_units.py"],
    "listeners and knocking": ["test_firewall.py"],
    "egress and local doors": ["test_containment.py"],
    "consoles": ["test_consoles.py"],
    "sshd, kernel, updates": ["test_base.py"],
    "edge": ["test_nginx.py", "test_certbot.py"],
    "links between hosts": ["test_mesh.py"],
    "roles and rights of PostgreSQL and Valkey": ["test_postgres.py", "test_valkey.py"],
}


def lynis(target: Target) -> list[Row]:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in (
            "usr/share/lynis/db",
            "usr/share/lynis/include",
            "usr/sbin/lynis",
            "etc/lynis/default.prf",
            "etc/lynis/plugins",
        ):
            archive.add(PACKAGES / path, Path(path).name, filter=of_root)
    return [lynis_on(target, name, packed.getvalue()) for name in target.hosts()]


def of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """lynis refuses to be run by root from files of others."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def lynis_on(target: Target, name: str, packed: bytes) -> Row:
    """Unpacked into a folder of its own, which goes again: an audit installs nothing."""
    command = (
        "umask 077; d=$(mktemp -d /root/lynis.XXXXXX) && trap 'rm -rf $d /run/lynis.pid' EXIT && cd $d && tar -xf - && "
        "./lynis audit system --quick --quiet --no-colors --no-log --profile $d/default.prf "
        "--report-file $d/report.dat >&2; "
        "cat $d/report.dat"
    )
    said = target.feed(name, command, packed, timeout_s=900, text=False).decode(errors="replace")
    (CACHE / f"lynis-{name}.dat").write_text(said)
    index = re.search(r"^hardening_index=(\d+)$", said, re.MULTILINE)
    if index is None:
        return Row(f"lynis of {name}", "failed", f"its report has no hardening_index: {said[-300:]!r}")
    warnings = dict(re.findall(r"^warning\[\]=([A-Z]+-\d+)\|([^|]*)", said, re.MULTILINE))
    faults = [f"warns: {test} {text}" for test, text in warnings.items() if test not in LYNIS_MAY_WARN]
    faults += [f"{index[1]} of 100, at least {LYNIS_LEAST}"] * (int(index[1]) < LYNIS_LEAST)
    return judged(f"lynis of {name}", faults, f"{index[1]} of 100; warnings: {', '.join(warnings) or 'none'}")


def promises(target: Target) -> list[Row]:
    files = [f"tests/infra/{file}" for wanted in PROMISES.values() for file in wanted]
    report = CACHE / "infra.xml"
    report.unlink(missing_ok=True)
    # -s: exposure of each unit and the table of egress are printed
    words = [
        sys.executable,
        "-m",
        "pytest",
        *files,
        "--inventory",
        target.inventory,
        f"--junitxml={report}",
        "-s",
        "-q",
    ]
    done = said_by(words, timeout_s=1800)
    (CACHE / "infra.log").write_text(done.stdout + done.stderr)
    if not report.exists():
        return [Row("promises of tests/infra", "failed", f"pytest ended with {done.returncode}: {CACHE / 'infra.log'}")]
    cases = ElementTree.parse(report).getroot().findall(".//testcase")
    rows = []
    for check, wanted in PROMISES.items():
        own = [case for case in cases if any(Path(file).stem in case.get("classname", "") for file in wanted)]
        faults = [
            str(case.get("name")) for case in own if case.find("failure") is not None or case.find("error") is not None
        ]
        skipped = sum(case.find("skipped") is not None for case in own)
        detail = f"{len(own) - skipped} tests" + f", {skipped} skipped (why: {CACHE / 'infra.log'})" * bool(skipped)
        rows.append(judged(check, faults, detail) if len(own) > skipped else Row(check, "skipped", "no host has it"))
    return rows


def settings_of_production(target: Target) -> list[Row]:
    rows = []
    for name in target.hosts("app"):
        done = target.host(name).run("matchpoint-manage check --deploy --fail-level WARNING")
        said = (done.stdout + done.stderr).strip().splitlines()
        rows.append(judged(f"check --deploy on {name}", said[-3:] if done.rc else [], said[-1] if said else ""))
    return rows
