"""Looks for secrets on a host, as root: run by `python3 -` there, after a line ``PATTERNS = {text: name}``.

Nothing that it looks for stands on a command line. Prints {place: [what was found where]} and, as "known", the files
that hold secrets and are closed to others.
"""

import json
import os
import pathlib
import pwd
import stat
import subprocess
import sys
import tempfile

PATTERNS = globals().get("PATTERNS", {})
# What records, and must hold no secret whoever may read it
RECORDS = (
    "/var/log/", "/var/lib/prometheus/", "/opt/matchpoint/releases/", "/opt/matchpoint/libraries/", "/tmp/",
    "/var/tmp/", "/home/", "/root/", "/var/cache/", "/var/backups/", "/var/spool/", "/var/lib/postgresql/",
    "/var/lib/dpkg/", "/run/log/", "/usr/", "/var/lib/systemd/",
)  # fmt: skip
LEFT_OUT = ["proc", "sys", "dev"]


def names(data):
    """The secrets in some bytes, by name."""
    return sorted({name for text, name in PATTERNS.items() if text.encode() in data})


def grep(patterns, *words, **options):
    return subprocess.run(
        ["grep", "--text", "--fixed-strings", "--file", patterns, *words],
        env={"LC_ALL": "C", "PATH": os.environ["PATH"]}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
        **options,
    ).stdout  # fmt: skip


def files(patterns):
    """Files with secrets: (those that must not be, those that are closed to others)."""
    top = ["/" + name for name in os.listdir("/") if name not in LEFT_OUT and not os.path.islink("/" + name)]
    words = ["--recursive", "--files-with-matches", "--devices=skip", "--null", *top]
    bad, closed = [], []
    for path in grep(patterns, *words).decode(errors="surrogateescape").split("\0"):
        try:
            about = os.lstat(path)
            if not path or path == patterns or not stat.S_ISREG(about.st_mode):
                continue
            what = f"{path} ({', '.join(names(pathlib.Path(path).read_bytes())) or 'no longer'})"
        except OSError:
            continue
        if path.startswith(RECORDS) or others_read(path):
            bad.append(what)
        else:
            closed.append(path)
    packed = [str(path) for path in pathlib.Path("/var/log").rglob("*.gz")]
    for path in packed:
        unpacked = subprocess.run(["zcat", path], stdout=subprocess.PIPE, check=False).stdout
        bad += [f"{path} ({name})" for name in names(unpacked)]
    return bad, closed


def others_read(path):
    """Whether a user without rights could open it: its mode, and every folder above."""
    if not os.stat(path).st_mode & stat.S_IROTH:
        return False
    return all(os.stat(folder).st_mode & stat.S_IXOTH for folder in pathlib.Path(path).parents)


def stream(patterns, *command, user=None):
    """The secrets in what a command says, by name; None when there is no such command."""
    try:
        source = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, user=user, cwd="/")
    except OSError:
        return None
    found = grep(patterns, stdin=source.stdout)
    code = source.wait()  # who could not be asked has not said that there is none
    return names(found) + [f"{command[0]} could not be asked, exit code {code}"] * (code != 0)


def processes():
    """Secrets in the command line of any process, and in the environment of another user's that a user can read."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    owners, found = {}, []
    for pid in pids:
        try:
            owners[pid] = os.stat(f"/proc/{pid}").st_uid
            found += [f"argv of {pid} ({name})" for name in names(pathlib.Path(f"/proc/{pid}/cmdline").read_bytes())]
        except OSError:
            continue
    users = {user.pw_uid: user for user in pwd.getpwall() if user.pw_uid}
    for user in users.values():
        ours, theirs = os.pipe()
        if not (child := os.fork()):
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            seen = []
            for pid, owner in owners.items():
                if owner != user.pw_uid:
                    try:
                        seen += [f"environ of {pid} as {user.pw_name} ({name})"
                                 for name in names(pathlib.Path(f"/proc/{pid}/environ").read_bytes())]  # fmt: skip
                    except OSError:
                        continue
            os.write(theirs, json.dumps(seen[:20]).encode())
            os._exit(0)
        os.close(theirs)
        with os.fdopen(ours) as answer:
            found += json.load(answer)
        os.waitpid(child, 0)
    return found, len(pids), len(users)


def statements(patterns):
    """What PostgreSQL remembers of statements; None where there is no server."""
    if not pathlib.Path("/run/postgresql/.s.PGSQL.5432").exists():
        return None
    asked = "copy (select query from pg_stat_statements union all select query from pg_stat_activity) to stdout"
    try:
        user = pwd.getpwnam("postgres").pw_uid
    except KeyError:
        return None
    return stream(patterns, "psql", "--no-psqlrc", "--dbname=matchpoint", "--command", asked, user=user)


def metrics(patterns):
    """What Prometheus and Alertmanager tell; None where they do not run."""
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=False).stdout.splitlines()
    found, asked = [], 0
    paths = {
        "prometheus": [
            "federate?match[]={__name__=~'.%2B'}", "api/v1/status/config", "api/v1/status/flags", "api/v1/targets",
        ],
        "prometheus-aler": ["api/v2/status", "metrics"],
    }  # fmt: skip
    for line in listening:
        for program, wanted in paths.items():
            if f'("{program}"' in line and line.split()[3].rpartition(":")[2] in ("9090", "9093"):
                for path in wanted:
                    told = stream(patterns, "curl", "-sS", "--fail", "--globoff", f"http://{line.split()[3]}/{path}")
                    found += [f"{path} ({name})" for name in told or []]
                    asked += 1
    return found if asked else None


def backups(patterns):
    """What pgBackRest says of the store, unciphered; None where no backups are made."""
    if not pathlib.Path("/etc/pgbackrest.conf").exists() and not pathlib.Path("/etc/pgbackrest").exists():
        return None
    user = pwd.getpwnam("postgres").pw_uid
    found = []
    for words in (["info", "--output=json"], ["repo-ls", "--recurse", "--output=json"], ["version"]):
        told = stream(patterns, "pgbackrest", *words, user=user)
        found += [f"pgbackrest {words[0]} ({name})" for name in told or []]
    return found


def main():
    with tempfile.NamedTemporaryFile("w", dir="/dev/shm") as file:
        file.write("\n".join(PATTERNS))
        file.flush()
        bad, closed = files(file.name)
        told, asked, users = processes()
        print(json.dumps({
            "known": closed,
            "files": bad,
            "journal": stream(file.name, "journalctl", "--output=export", "--no-pager"),
            "processes": told,
            "looked at": f"{asked} processes as {users} users",
            "statements": statements(file.name),
            "metrics": metrics(file.name),
            "backups": backups(file.name),
        }))  # fmt: skip


if PATTERNS:
    main()
    sys.exit()
