#!/usr/bin/python3
"""Stop and remove what the site has on a host and no longer needs there."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host_manifest import DATA, LOGS, PURGED, Manifest, groups, packages, users

DOCUMENTATION = """
module: turn_off
short_description: what left the inventory leaves the host
description:
  - Goes by the host's manifest, in which write_files notes each file with its role. Units whose files go are stopped
    and disabled first; a file that was there before the site is put back. Data stay.
  - At the end of a deploy (C(roles)) that is what belongs to roles that the host has no longer, and what roles that
    write all their files in each run (C(whole)) did not write again. A PostgreSQL that is no standby and a member of a
    quorum are left alone, and told of.
  - With C(everything) it is all of it, with the packages and users that came with the site.
options:
  roles: {description: roles that the host has, type: list, elements: str, default: []}
  whole: {description: those that write all their files in each deploy, type: list, elements: str, default: []}
  units: {description: "what it runs, as regular expressions", type: list, elements: str, default: []}
  everything: {description: take the whole site away, type: bool, default: false}
  packages: {description: those that the site installs, type: list, elements: str, default: []}
  delete_data: {description: "with C(everything), the data too, not moved aside", type: bool, default: false}
"""

RETURN = """
removed: {description: files, type: list, returned: always}
stopped: {description: units, type: list, returned: always}
purged: {description: packages, type: list, returned: always}
users: {description: users that were deleted, type: list, returned: always}
kept: {description: "what stays, and why", type: list, returned: always}
"""

UNITS = Path("/etc/systemd/system")
# Units of packages that roles take over; whatever else has a drop-in of ours (sshd, journald) is not ours to stop
PACKAGED = re.compile(
    r"(certbot|etcd|grafana-server|haproxy|mtail|nginx|(patroni|postgresql)(@17-main)?|prometheus(-[a-z-]+)?|valkey-[a-z]+)"
    r"\.(service|timer)"
)
MARKS = ("started-with", "loaded")
READ_AGAIN = (
    "ssh.service",
    "systemd-journald.service",
    "apt-daily-upgrade.timer",
)  # settings of ours, whether or not they were the host's own
STANDBY = Path("/var/lib/postgresql/17/main/standby.signal")
# The site's own, beside what is in the manifest
OWN = (
    "/etc/matchpoint", "/opt/matchpoint", "/usr/local/lib/matchpoint", "/usr/local/share/matchpoint",
    "/usr/share/matchpoint", "/var/lib/matchpoint-certificates", "/var/www/acme", "/var/www/matchpoint",
    "/var/lib/misc/matchpoint-*", *(f"{UNITS}/*.d/{mark}" for mark in MARKS),
    "/run/matchpoint/unapplied", "/var/lib/systemd/timers/stamp-matchpoint-*",
)  # fmt: skip
# Those that roles and their packages make, by name: others may begin with the site's
USERS = (
    "postgres", "valkey", "prometheus", "grafana", "haproxy", "mtail", "etcd",
    "systemd-timesync", "ssl-cert", "matchpoint", "matchpoint-live", "matchpoint-canary", "matchpoint-certificates",
)  # fmt: skip
# What a unit has last told the node exporter would be told for ever
TOLD = {
    "matchpoint-canary.service": "/var/lib/prometheus/node-exporter/canary.prom",
    "matchpoint-backup.service": "/var/lib/prometheus/node-exporter/backup.prom",
}
KEPT = Path("/var/lib/matchpoint-kept")
LETSENCRYPT = "/etc/letsencrypt"
CLUSTERS = "/var/lib/postgresql/[0-9]*/*"
# Its own removal refuses while root has no password, and a host's way in is not the site's to take
STAYS = {"sudo"}
KERNEL = re.compile(r"linux-(image|headers)-")


class Host:
    def __init__(self, module: AnsibleModule, manifest: Manifest) -> None:
        self.module, self.manifest = module, manifest
        self.told: dict[str, list[str]] = {name: [] for name in ("removed", "stopped", "purged", "users", "kept")}

    @property
    def is_dry(self) -> bool:
        return self.module.check_mode

    def run(self, *words: str, check: bool = True) -> str:
        status, out, err = self.module.run_command(list(words), environ_update={"DEBIAN_FRONTEND": "noninteractive"})
        if status and check:
            raise Wrong(f"`{' '.join(words[:4])}` failed: {(err or out).strip()[-600:]}")
        return out

    # Units

    def stop(self, units: Iterable[str]) -> None:
        """Timers and sockets first, which would start the others; what other units reach hosts through last."""
        order = {".timer": 0, ".socket": 0}
        for unit in sorted(units, key=lambda name: (order.get(Path(name).suffix, 1 + ("haproxy" in name)), name)):
            if not self.is_dry:
                self.run("systemctl", "disable", "--now", unit, check=False)  # one without [Install] has only to stop
                self.run("systemctl", "stop", unit)
            self.told["stopped"].append(unit)

    def units(self, paths: Iterable[str]) -> list[str]:
        """The units that these files make or change, if they are ours to stop; of templates the instances there are."""
        names = {unit for path in paths if (unit := unit_of(path))}
        names |= {name.replace(".service", ".timer") for name in names if PACKAGED.fullmatch(name)}
        files = self.manifest.files()
        found: set[str] = set()
        for name in names:
            pattern = name.replace("@.", "@*.")
            said = self.run("systemctl", "list-units", "--all", "--plain", "--no-legend", pattern, check=False)
            there = {line.split()[0] for line in said.splitlines() if line.strip()}
            there |= {link.name for link in UNITS.glob(f"*.wants/{pattern}")}
            if str(UNITS / name) in files:
                found |= there
            elif PACKAGED.fullmatch(name):
                found |= {unit for unit in there if self.package(unit) not in self.manifest.bare().get("packages", [])}
        return sorted(found)

    def package(self, unit: str) -> str:
        """The package that brought a unit, "" for none."""
        path = self.run("systemctl", "show", "--property=FragmentPath", "--value", unit, check=False).strip()
        said = self.run("dpkg-query", "--search", path, check=False) if path else ""
        return said.partition(":")[0]

    # Files

    def remove(self, paths: Iterable[str]) -> None:
        for name in paths:
            path = Path(name)
            self.told["removed"].append(name)
            if self.is_dry:
                continue
            path.unlink(missing_ok=True)
            if told := TOLD.get(path.name):
                Path(told).unlink(missing_ok=True)
            self.put_back(path)
            # run_services notes beside a unit's drop-ins what it runs with
            for folder in (path.with_name(f"{path.name}.d"), *path.parents):
                if not folder.is_dir() or not (folder.suffix == ".d" or "matchpoint" in str(folder)):
                    continue
                if folder.parent != UNITS and not any(folder.iterdir()) and owned(self, str(folder)):
                    continue
                if folder.parent == UNITS and not list(folder.glob("*.conf")):
                    for mark in MARKS:
                        (folder / mark).unlink(missing_ok=True)
                if not any(folder.iterdir()):
                    folder.rmdir()

    def put_back(self, path: Path) -> None:
        """What was there before the site, if anything was."""
        before = self.manifest.before(path)
        if before.is_file():
            owner = before.stat()
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(before, path)
            shutil.chown(path, owner.st_uid, owner.st_gid)

    def clear(self, patterns: Iterable[str]) -> None:
        for pattern in patterns:
            for path in Path("/").glob(pattern.lstrip("/")):
                self.told["removed"].append(str(path))
                if self.is_dry:
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()


class Wrong(Exception):
    """A sentence for the operator."""


def unit_of(path: str) -> str:
    """The unit that a file makes, or is a part of; "" for a file of another kind."""
    place = Path(path)
    if UNITS not in place.parents:
        return ""
    first = place.relative_to(UNITS).parts[0]
    name = first.removesuffix(".d")
    return name if re.search(r"\.(service|timer|socket|path)$", name) else ""


def sweep(host: Host) -> None:
    """At the end of a deploy."""
    params = host.module.params
    left = host.manifest.left(params["roles"], params["whole"])
    files = host.manifest.files()
    if any(files[path] == "etcd" for path in left) and "etcd" not in params["roles"]:
        left = [path for path in left if files[path] != "etcd"]
        host.told["kept"].append("etcd, whose members count on each other: `make remove-host` takes one out")
    if any(files[path] == "postgres" for path in left) and "postgres" not in params["roles"] and is_primary(host):
        left = [path for path in left if files[path] not in ("postgres", "backup")]
        host.told["kept"].append("PostgreSQL, which is no standby: it runs, with its data and its backups")
    staying = set(files) - set(left)
    needed = {unit_of(path) for path in staying}
    wanted = [re.compile(pattern) for pattern in params["units"]]
    host.stop(
        unit
        for unit in host.units(left)
        if unit not in needed and not any(pattern.fullmatch(unit) for pattern in wanted)
    )
    host.remove(left)
    finish(host, left)


def finish(host: Host, gone: list[str]) -> None:
    if host.is_dry:
        return
    if any(unit_of(path) for path in gone):
        host.run("systemctl", "daemon-reload")
    if gone:
        host.manifest.note("", [], gone)
    host.manifest.forget_marks()


def is_primary(host: Host) -> bool:
    asked = ["systemctl", "is-active", "--quiet", "postgresql@17-main.service", "patroni@17-main.service"]
    return host.module.run_command(asked)[0] == 0 and not STANDBY.exists()  # 0: one of them is


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
        how = "remove" if theirs & {*DATA, *found(CLUSTERS)} else "purge"
        host.run("apt-get", how, "--yes", "--quiet", "--option", "DPkg::Lock::Timeout=300", *ours)
    if bare:
        logs = [path for pattern in LOGS for path in found(pattern) if path not in theirs]
        host.clear(path for path in logs if not owned(host, path))
        delete_users(host, bare)
        if not host.is_dry:
            forget_purged(host)
    host.clear(OWN)
    if not host.is_dry:
        for folder in UNITS.glob("*.d"):
            if not any(folder.iterdir()):
                folder.rmdir()
        host.run("systemctl", "daemon-reload")
        host.run("systemctl", "reset-failed", check=False)
        for unit in READ_AGAIN:
            host.run("systemctl", "try-reload-or-restart", unit, check=False)


def owned(host: Host, pattern: str) -> bool:
    """Whether a package that stays has something there."""
    return host.module.run_command(["dpkg-query", "--search", pattern])[0] == 0


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
    asked |= {
        name for name in there & automatic if name.startswith("postgresql-")
    }  # which apt is told never to remove by itself

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


def found(pattern: str) -> list[str]:
    return sorted(str(path) for path in Path("/").glob(pattern.lstrip("/")))


def of_before(host: Host, bare: dict[str, list[str]]) -> tuple[set[str], list[Path]]:
    """Which of DATA and LOGS were the host's before the site, all where nobody noted it; and the data that are ours."""
    there = {path for pattern in (*DATA, *LOGS) for path in found(pattern)}
    theirs = there & set(bare["paths"]) if "paths" in bare else there
    data = [path for path in DATA if path in there - theirs]
    theirs |= {path for path in found(CLUSTERS) if path not in DATA}
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
        if not path.exists():
            host.put_back(path)
    web = Path("/var/www")
    if web.is_dir() and not any(web.iterdir()) and not owned(host, str(web)):
        web.rmdir()


def delete_users(host: Host, bare: dict[str, list[str]]) -> None:
    """Users and groups that came with the site, but for those that what was kept belongs to."""
    stays = [path for path in found(CLUSTERS) if path not in DATA]
    if not host.module.params["delete_data"] and KEPT.exists():
        stays.append(str(KEPT))
    owners = set(host.run("find", *stays, "-printf", "%u\\n%g\\n").split()) if stays else set()
    for there, before, command in ((users, "users", "userdel"), (groups, "groups", "groupdel")):
        for name in sorted(set(there()) - set(bare.get(before, there()))):
            if name not in USERS:
                continue
            if name in owners:
                if there is users:
                    host.told["kept"].append(f"the user {name}, whose data were kept")
                continue
            host.told["users"].append(name)
            if not host.is_dry:
                host.run(command, name)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "roles": {"type": "list", "elements": "str", "default": []},
            "whole": {"type": "list", "elements": "str", "default": []},
            "units": {"type": "list", "elements": "str", "default": []},
            "everything": {"type": "bool", "default": False},
            "packages": {"type": "list", "elements": "str", "default": []},
            "delete_data": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    host = Host(module, Manifest())
    try:
        (uninstall if module.params["everything"] else sweep)(host)
    except (Wrong, OSError, subprocess.CalledProcessError) as error:
        module.fail_json(msg=f"{error}", **host.told)
    module.exit_json(
        changed=any(host.told[name] for name in ("removed", "stopped", "purged", "users")),
        diff=[
            {"before": "there\n", "after": "", "before_header": path, "after_header": path}
            for path in host.told["removed"]
        ]
        if module._diff
        else [],
        **host.told,
    )


if __name__ == "__main__":
    main()
