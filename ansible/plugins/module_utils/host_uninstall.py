"""Taking the whole site off a host, with the packages and users that came with it; data are kept, or go by consent."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ansible.module_utils.host_cleaning import MARKS, UNITS, Host, Wrong, owned
from ansible.module_utils.host_manifest import DATA, LOGS, PURGED, groups, packages, users

READ_AGAIN = (
    "ssh.service",
    "systemd-journald.service",
    "apt-daily-upgrade.timer",
)  # settings of ours, whether or not they were the host's own
# The site's own, beside what is in the manifest
OWN = (
    "/etc/matchpoint", "/opt/matchpoint", "/usr/local/lib/matchpoint", "/usr/local/share/matchpoint",
    "/usr/share/matchpoint", "/var/lib/matchpoint-certificates", "/var/www/acme", "/var/www/matchpoint",
    "/var/lib/misc/matchpoint-[!m]*", *(f"{UNITS}/*.d/{mark}" for mark in MARKS),
    "/run/matchpoint/unapplied", "/var/lib/systemd/timers/stamp-matchpoint-*",
)  # fmt: skip
# Those that roles and their packages make, by name: others may begin with the site's
USERS = (
    "postgres", "valkey", "prometheus", "grafana", "haproxy", "mtail", "etcd",
    "systemd-timesync", "ssl-cert", "matchpoint", "matchpoint-live", "matchpoint-canary", "matchpoint-certificates",
)  # fmt: skip
KEPT = Path("/var/lib/matchpoint-kept")
LETSENCRYPT = "/etc/letsencrypt"
CLUSTERS = "/var/lib/postgresql/[0-9]*/*"
# Its own removal refuses while root has no password, and a host's way in is not the site's to take
STAYS = {"sudo"}
KERNEL = re.compile(r"linux-(image|headers)-")


def uninstall(host: Host) -> None:
    """Everything. What can stop it is asked before anything is changed."""
    params, manifest = host.module.params, host.manifest
    if not manifest.files():
        raise Wrong(
            "the host has no manifest of what the site wrote: `make deploy` once with this version, then uninstall"
        )
    bare = manifest.bare()
    ours = removable(host, bare.get("packages", []), params["packages"]) if bare else []
    theirs, data = of_before(host, bare)
    data = [path for path in data if str(path) != "/var/lib/prometheus" or ours]
    mounts = [str(path) for path in data if path.is_mount()]
    if mounts and not params["delete_data"]:
        where = ", ".join(mounts)
        raise Wrong(f"{where} is mounted there, and cannot be moved aside. Unmount it, which keeps it; or DATA=delete")
    if not bare:
        host.told["kept"].append(
            "packages and users, because the site was there before the host kept a list of its own: "
            + ", ".join(sorted(set(params["packages"]) & set(packages())))
        )
    files = sorted(manifest.files())
    host.stop(host.units(files))
    put_aside(host, data)
    host.remove(files)
    if not host.is_dry:
        host.run("systemctl", "daemon-reload")
    host.told["purged"] = ours
    if ours and not host.is_dry:
        # A purge deletes what packages know of, whosever it is
        how = "remove" if theirs & {*found(*DATA), *found(CLUSTERS)} else "purge"
        host.run("apt-get", how, "--yes", "--quiet", "--option", "DPkg::Lock::Timeout=300", *ours)
    if bare:
        host.clear(path for path in found(*LOGS) if path not in theirs and not owned(host, path))
        delete_users(host, bare)
    host.clear(OWN)
    if not host.is_dry:
        if bare:
            forget_purged(host)
        for folder in UNITS.glob("*.d"):
            if not any(folder.iterdir()):
                folder.rmdir()
        host.run("systemctl", "daemon-reload")
        host.run("systemctl", "reset-failed", check=False)
        for unit in READ_AGAIN:
            host.run("systemctl", "try-reload-or-restart", unit, check=False)
    host.clear([str(manifest.folder)])  # last: a run that is stopped before goes on by it


def named(host: Host, *words: str) -> set[str]:
    """The packages that apt-get would remove."""
    # What is left over is what nothing depends on: else packages of the site that suggest each other would stay
    loose = [f"-oAPT::AutoRemove::{kind}Important=false" for kind in ("Recommends", "Suggests")]
    said = host.run("apt-get", "--simulate", "--quiet", *loose, *words)
    return {name.partition(":")[0] for name in re.findall(r"^(?:Purg|Remv) (\S+)", said, re.MULTILINE)}


def removable(host: Host, before: list[str], wanted: list[str]) -> list[str]:
    """What came with the site: its packages, and what only they need. What others need stays, and is told of."""
    automatic = set(host.run("apt-mark", "showauto").split())
    there = set(packages()) - set(before)
    asked = ((set(wanted) | {"grafana"}) & there) - STAYS
    # Those of PostgreSQL apt is told never to remove by itself
    asked |= {name for name in there & automatic if name.startswith("postgresql-")}

    def others(names: set[str]) -> set[str]:
        return {name for name in names - asked if name in before or name not in automatic or KERNEL.match(name)}

    if asked and others(named(host, "purge", *sorted(asked))):
        needed = {name: others(named(host, "purge", name)) for name in sorted(asked)}
        for name, by in needed.items():
            if by:
                host.told["kept"].append(f"the package {name}, which {', '.join(sorted(by))} needs")
        asked -= {name for name, by in needed.items() if by}
    if not asked:
        return []
    idle = named(host, "autoremove")
    if idle - set(before):
        host.told["kept"].append(f"{', '.join(sorted(idle - set(before)))}: `apt-get autoremove` would remove them")
    going = {name for name in named(host, "--auto-remove", "purge", *sorted(asked)) if not KERNEL.match(name)}
    ours = sorted(going - (idle - asked) - set(before))
    if more := named(host, "purge", *ours) - set(ours):
        raise Wrong(
            f"{', '.join(sorted(more))} would go with the site's packages: see `apt-get autoremove`, then again"
        )
    return ours


def found(*patterns: str) -> list[str]:
    return sorted(str(path) for pattern in patterns for path in Path("/").glob(pattern.lstrip("/")))


def of_before(host: Host, bare: dict[str, list[str]]) -> tuple[set[str], list[Path]]:
    """Which of DATA and LOGS were the host's before the site, all where nobody noted it; and the data that are ours."""
    there = set(found(*DATA, *LOGS))
    theirs = there & set(bare["paths"]) if "paths" in bare else there
    data = [path for path in found(*DATA) if path not in theirs]
    theirs |= set(found(CLUSTERS)) - set(found(*DATA))
    if LETSENCRYPT in theirs:
        for part in ("live", "archive", "renewal"):
            data += found(f"{LETSENCRYPT}/{part}/matchpoint-*")
    host.told["kept"] += [f"{path}, which may be from before the site" for path in sorted(theirs)]
    return theirs, [Path(path) for path in data]


def clear_welcome(folder: Path) -> None:
    """Removes the page that the package of nginx puts there, and the folder, if there is nothing else."""
    if folder.is_dir() and {path.name for path in folder.iterdir()} <= {"index.nginx-debian.html"}:
        shutil.rmtree(folder)


def put_aside(host: Host, data: list[Path]) -> None:
    """Data are moved out of the reach of packages that would delete them with themselves, or deleted."""
    if host.module.params["delete_data"]:
        host.clear(str(path) for path in data)
        return
    for path in data:
        target = KEPT / path.relative_to("/")
        host.told["kept"].append(f"{path}, now {target}")
        if host.is_dry:
            continue
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        number = 1
        while target.exists():
            target = target.with_name(f"{path.name}.{(number := number + 1)}")
        path.rename(target)
    if data and not host.is_dry:
        KEPT.chmod(0o700)


def forget_purged(host: Host) -> None:
    """What the purge of packages leaves: what still runs, when it last ran, and what was the host's own."""
    for line in host.run("systemctl", "list-units", "--state=active", "--plain", "--no-legend").splitlines():
        unit, load, *_ = line.split()
        if load == "not-found":
            host.run("systemctl", "stop", unit, check=False)
    for stamp in Path("/var/lib/systemd/timers").glob("stamp-*"):
        timer = stamp.name.removeprefix("stamp-")
        if not any((folder / timer).exists() for folder in (UNITS, Path("/usr/lib/systemd/system"))):
            stamp.unlink()
    for path in (Path(name) for name in (*DATA, *LOGS) if "17" in name):
        for folder in list(path.parents)[:2]:
            if (
                folder.is_dir()
                and folder.name in ("17", "postgresql")
                and not (any(folder.iterdir()) or owned(host, f"{folder}"))
            ):
                folder.rmdir()
    clear_welcome(Path("/var/www/html"))
    for path in PURGED:
        if not (path.exists() or path.is_symlink()):
            host.put_back(path)
    web = Path("/var/www")
    if web.is_dir() and not any(web.iterdir()) and not owned(host, str(web)):
        web.rmdir()


def delete_users(host: Host, bare: dict[str, list[str]]) -> None:
    """Users and groups that came with the site, but for those that what was kept belongs to."""
    stays = sorted(set(found(CLUSTERS)) - set(found(*DATA)))
    if not host.module.params["delete_data"] and KEPT.exists():
        stays.append(str(KEPT))
    owners = set(host.run("find", *stays, "-printf", "%u\\n%g\\n").split()) if stays else set()
    for there, before, command in ((users, "users", "userdel"), (groups, "groups", "groupdel")):
        for name in sorted(set(there()) - set(bare.get(before, there()))):
            if name not in USERS:
                continue
            if name in owners:
                if there is users or name not in users():
                    host.told["kept"].append(f"the {command[:-3]} {name}, whose data were kept")
                continue
            host.told["users"].append(name)
            if not host.is_dry:
                host.run(command, name)
