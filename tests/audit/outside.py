"""What a stranger finds: ports, TLS, headers, and an API that is asked for what it does not expect."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import docker

from tests.audit.target import CACHE, PACKAGES, ROOT, TOOLS, Row, Target, as_json, judged, said_by

SERIOUS = {"MEDIUM", "HIGH", "CRITICAL"}
# What testssl may find, and why it is not ours
TLS_MAY_FIND = {
    "DNS_CAArecord": "the zone is the operator's (docs/domain.md)",
    "cert_chain_of_trust": "a lab's CA is no public one; the site's own clients check the chain",
    "cert_revocation": "the CA's; Let's Encrypt has no OCSP any more, and a lab's no list",
    "cert_crlDistributionPoints": "the same",
    "cert_ocspURL": "the same",
    "cert_validityPeriod": "the CA's",
    "cert_extlifeSpan": "the CA's",
    "cert_eTLS": "the CA's",
    "overall_grade": "what it is made of is listed",
}
TOKEN = "a" * 32  # of forms: whoever sets the cookie as well may say it
# A path, what is sent with it, and the status that is meant
ANSWERS: list[tuple[str, dict[str, str], set[int]]] = [
    ("/", {}, {200}),
    ("/accounts/login/", {}, {200}),
    ("/api/matches/nothing", {}, {404}),
    ("/nothing/", {}, {404}),
    ("/static/nothing.css", {}, {404}),
    ("/metrics", {}, {404}),
    ("/ops/", {}, {302, 401, 403}),
    ("/ops/prometheus/graph", {}, {302, 401, 403}),
    ("/ws/nobody-1/match/none", {}, {404, 426}),
    ("/" + "x" * 9000, {}, {414}),
    ("/", {"Cookie": "a=" + "x" * 17000}, {400, 431}),
]
ONCE = [
    "Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options", "Strict-Transport-Security",
    "Referrer-Policy", "Cache-Control",
]  # fmt: skip


def headers(target: Target) -> list[Row]:
    faults, lines = [], []
    for path, sent, statuses in ANSWERS:
        answer = target.site.get(path, **{name.replace("-", "_"): value for name, value in sent.items()})
        counts = {name: len(answer.headers.get_all(name) or []) for name in ONCE}
        shown = f"{answer.status} {path[:40]}{' with ' + ', '.join(sent) if sent else ''}"
        lines.append(f"{shown:60} " + " ".join(map(str, counts.values())))
        faults += [f"{shown}: {name} {count} times" for name, count in counts.items() if count != 1]
        faults += [f"{shown}: not {' or '.join(map(str, sorted(statuses)))}"] * (answer.status not in statuses)
        policy = answer.headers.get("Content-Security-Policy", "")
        faults += [f"{shown}: its policy allows inline code"] * bool(re.search(r"script-src[^;]*'unsafe-", policy))
    (CACHE / "headers.txt").write_text(f"{'':60} {' '.join(ONCE)}\n" + "\n".join(lines) + "\n")
    return [judged("headers of answers", faults, f"{len(ANSWERS)} answers, each of {len(ONCE)} headers once")]


def ports(target: Target) -> list[Row]:
    """All 65,535 of each host, from another machine of its network where this is a lab; else from here."""
    nmap = shutil.which("nmap")
    if nmap is None:
        return [Row("ports", "skipped", "there is no nmap on this machine")]
    neighbour = world_pid(target)
    way = ["nsenter", f"--target={neighbour}", "--net"] if neighbour else []
    if way and os.geteuid():
        way = ["sudo", *way]
    rows = []
    for name, facts in target.hosts().items():
        words = [*way, nmap, "-Pn", "-n", "-sT", "-p-", "--open", "--max-retries=1", "--min-rate=2000",
                 "--host-timeout=8m",
                 "-oG", "-", facts["ansible_host"]]  # fmt: skip
        done = said_by(words, timeout_s=600)
        check = f"ports of {name} from {'a neighbour' if neighbour else 'here'}"
        if done.returncode or "Timeout" in done.stdout:
            rows.append(Row(check, "failed", f"nmap did not end: {(done.stderr or done.stdout)[-300:]}"))
            continue
        opened = {int(port) for port in re.findall(r"(\d+)/open/tcp", done.stdout)}
        meant = {*facts["host_published"].get("public", []), int(facts["ssh_port"])}
        faults = [f"{port} is open" for port in sorted(opened - meant)]
        faults += [f"{port} is closed" for port in sorted(meant - opened)]
        rows.append(judged(check, faults, f"open: {', '.join(map(str, sorted(opened)))}"))
    return rows


def world_pid(target: Target) -> int:
    """The process whose network is that of the machine beside the hosts of a lab; 0 where there is none."""
    if not any(Path(target.inventory).glob("*.docker.yml")):
        return 0
    client = docker.from_env(timeout=60)
    return int(client.containers.get(f"{os.environ['MATCHPOINT_LAB']}-world").attrs["State"]["Pid"])


def tls(target: Target) -> list[Row]:
    site = target.site
    report = CACHE / "testssl.json"
    report.unlink(missing_ok=True)
    authority = ["--add-ca", site.edge["matchpoint_public_ca"]] if site.edge["matchpoint_public_ca"] else []
    words = [PACKAGES / "usr/bin/testssl", "--quiet", "--color", "0", "--warnings", "batch", "--nodns", "min", "--ip",
             site.address, *authority, "--jsonfile", report, f"{site.domain}:443"]  # fmt: skip
    done = said_by(words, timeout_s=900, env={"TESTSSL_INSTALL_DIR": str(PACKAGES / "etc/testssl"), "TERM": "dumb"})
    (CACHE / "testssl.txt").write_text(done.stdout + done.stderr)
    if not report.exists():
        return [
            Row("TLS by testssl", "failed", f"it ended with {done.returncode}: {(done.stderr or done.stdout)[-300:]}")
        ]
    found = as_json(report.read_text(), "testssl")
    problems = [each for each in found if each["severity"] in SERIOUS]
    faults = [f"{each['id']}: {each['finding']}" for each in problems if each["id"].split(" ")[0] not in TLS_MAY_FIND]
    faults += ["it looked at next to nothing"] * (len(found) < 100)
    grade = next((each["finding"] for each in found if each["id"] == "overall_grade"), "none")
    excused = sorted({each["id"] for each in problems} - {fault.split(":")[0] for fault in faults})
    return [
        judged(
            "TLS by testssl", faults, f"grade {grade}, {len(found)} findings; not ours: {', '.join(excused) or 'none'}"
        )
    ]


def api(target: Target) -> list[Row]:
    """What docs/api.schema.json says of the HTTP API, asked for in ways that nobody would think of."""
    site, check = target.site, "HTTP API by schemathesis"
    if not (TOOLS / "schemathesis").exists():
        return [Row(check, "skipped", "schemathesis is not installed")]
    environment = {
        "SCHEMATHESIS_HOOKS": "tests.audit.hooks", "PYTHONPATH": str(ROOT), "AUDIT_NAME": site.domain,
        "AUDIT_ADDRESS": site.address, "NO_COLOR": "1",
    }  # fmt: skip
    words = [
        TOOLS / "schemathesis", "run", ROOT / "docs/api.schema.json", "--url", f"https://{site.domain}", "--seed", "1",
        "--max-examples", "25", "--rate-limit", "5/s", "--phases", "examples,coverage,fuzzing",
        "--request-timeout", "10",
        "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        "--no-color", "--generation-database", "none", "--max-time", "240",
        "-H", f"Cookie: __Host-csrftoken={TOKEN}", "-H", f"X-CSRFToken: {TOKEN}", "-H", f"Origin: https://{site.domain}",
        "-H", f"Referer: https://{site.domain}/",
        *(["--tls-verify", site.edge["matchpoint_public_ca"]] if site.edge["matchpoint_public_ca"] else []),
    ]  # fmt: skip
    done = said_by(words, timeout_s=600, env=environment)
    (CACHE / "schemathesis.txt").write_text(done.stdout + done.stderr)
    lines = [line.strip(" -•") for line in done.stdout.splitlines()]
    faults = sorted({line for line in lines if re.match(r"(GET|POST|PUT|DELETE) /|Server error|Undocumented", line)})
    summary = next((line for line in reversed(lines) if "generated" in line), lines[-1] if lines else "")
    if done.returncode:
        return [judged(check, faults or [f"exit code {done.returncode}: {CACHE / 'schemathesis.txt'}"], "")]
    return [judged(check, [], summary)]
