"""What is asked of the code and of what it stands on: bandit, nginx' configuration, advisories."""

from __future__ import annotations

import shutil

from tests.audit.target import CACHE, ROOT, TOOLS, Row, Target, as_json, judged, said_by

CODE = ["app", "ansible", "roles", "docker", "certs", "monitoring"]
# What bandit may find: (file, test) -> why it is none
BANDIT_MAY_FIND = {
    ("ansible/plugins/modules/alert_test.py", "B310"): "addresses come from the playbook",
    ("roles/app/library/app_switch.py", "B310"): "http and an address of the host's own stand before what varies",
    ("ansible/secrets_file.py", "B506"): "both loaders are safe ones",
    ("docker/lab/topology.py", "B506"): "the loader is a SafeLoader",
    ("app/ops/runbooks.py", "B703"): "HTML is off in the renderer, and what it renders is escaped",
    ("app/ops/runbooks.py", "B308"): "the same",
    ("docker/lab/hosts.py", "B104"): "compared with, and not bound to",
    ("docker/lab/hosts.py", "B108"): "the mount point of a container",
    ("docker/lab/world/recorder.py", "B104"): "the lab's network is where it is to be reached",
    ("roles/backup/files/usr/local/lib/matchpoint/backup/restore.py", "B608"): "names of the inventory, checked before",
}
# What gixy may find, and why it is none
NGINX_MAY_FIND = {
    "proxy_buffering_off": "sockets and held requests, which a buffer would hold back",
    "stale_dns_cache": "the variable is from a map of addresses: no name is looked up",
}


def bandit(target: Target) -> list[Row]:
    """Nothing that it holds for medium or more, but what has a reason above."""
    done = said_by([TOOLS / "bandit", "--recursive", *CODE, "--format", "json", "--quiet", "-ll"])
    told = as_json(done.stdout, "bandit")
    found = {(each["filename"], each["test_id"]): each for each in told["results"]}
    faults = [f"{file}:{each['line_number']} {test} {each['issue_text']}" for (file, test), each in found.items()
              if (file, test) not in BANDIT_MAY_FIND]  # fmt: skip
    faults += [
        f"{file} has no {test} any more: take its reason out" for file, test in BANDIT_MAY_FIND.keys() - found.keys()
    ]
    faults += [f"{each['filename']} could not be read: {each['reason']}" for each in told["errors"]]
    return [
        judged(
            "bandit",
            faults,
            f"{told['metrics']['_totals']['loc']} lines; {len(BANDIT_MAY_FIND)} of medium severity, with reasons",
        )
    ]


def nginx(target: Target) -> list[Row]:
    rows = []
    for name in target.hosts("edge"):
        dump = target.host(name).check_output("nginx -T 2>/dev/null")
        done = said_by([TOOLS / "gixy", "--format", "json", "-"], stdin=dump)
        told = as_json(done.stdout, "gixy")
        faults = [f"{each['plugin']}: {each['summary']} ({str(each['reason']).strip()[:160]})" for each in told
                  if each["plugin"] not in NGINX_MAY_FIND]  # fmt: skip
        excused = ", ".join(sorted({each["plugin"] for each in told} & NGINX_MAY_FIND.keys())) or "none"
        rows.append(judged(f"nginx of {name} by gixy", faults, f"{len(dump.splitlines())} lines; excused: {excused}"))
    return rows


def advisories(target: Target) -> list[Row]:
    return [python_advisories(), node_advisories()]


def python_advisories() -> Row:
    locked = CACHE / "requirements.txt"
    groups = [word for group in ("runtime", "play", "ops") for word in ("--group", group)]
    uv = ROOT / ".tools/bin/uv"
    locked.write_text(
        said_by([uv, "export", "--frozen", "--no-default-groups", *groups, "--no-header"], check=True).stdout
    )
    words = [TOOLS / "pip-audit", "--requirement", locked, "--require-hashes", "--disable-pip", "--format", "json",
             "--progress-spinner", "off", "--timeout", "15"]  # fmt: skip
    done = said_by(words, timeout_s=300)
    if not done.stdout.strip().startswith("{"):
        return Row("advisories on Python packages", "skipped", f"no database answers: {last(done.stderr)}")
    told = as_json(done.stdout, "pip-audit")["dependencies"]
    unknown = [each["name"] for each in told if "skip_reason" in each]
    if unknown:
        return Row("advisories on Python packages", "skipped",
                   f"the database does not know {len(unknown)} of {len(told)}, e.g. {unknown[0]}")  # fmt: skip
    faults = [f"{each['name']} {each['version']}: {', '.join(one['id'] for one in each['vulns'])}"
              for each in told if each.get("vulns")]  # fmt: skip
    return judged("advisories on Python packages", faults, f"{len(told)} packages, none known to be bad")


def node_advisories() -> Row:
    check = "advisories on npm packages"
    npm = shutil.which("npm")
    if npm is None:
        return Row(check, "skipped", "there is no npm on this machine")
    done = said_by([npm, "audit", "--json", "--package-lock-only"], timeout_s=120)
    told = as_json(done.stdout or "{}", "npm")
    if "vulnerabilities" not in told:
        return Row(check, "skipped", f"no database answers: {last(str(told.get('message') or done.stderr))}")
    faults = [f"{name}: {each['severity']}" for name, each in told["vulnerabilities"].items()]
    return judged(check, faults, "none of them in what browsers get: linters only")


def last(text: str) -> str:
    return ([line for line in text.strip().splitlines() if line] or ["it said nothing"])[-1][:200]
