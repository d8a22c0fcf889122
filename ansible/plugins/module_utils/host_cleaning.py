"""A host that the site leaves, in part or as a whole: units stop, files go, and what was there before comes back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host_manifest import Manifest, copy_whole

UNITS = Path("/etc/systemd/system")
# Units of packages that roles take over; whatever else has a drop-in of ours (sshd, journald) is not ours to stop
PACKAGED = re.compile(
    r"(certbot|etcd|grafana-server|haproxy|mtail|nginx|(patroni|postgresql)(@17-main)?|prometheus(-[a-z-]+)?|valkey-[a-z]+)"
    r"\.(service|timer)"
)
MARKS = ("started-with", "loaded")
# What a unit has last told the node exporter would be told for ever
TOLD = {
    "matchpoint-canary.service": "/var/lib/prometheus/node-exporter/canary.prom",
    "matchpoint-backup.service": "/var/lib/prometheus/node-exporter/backup.prom",
}


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
            if not self.put_back(path):
                path.unlink(missing_ok=True)
            if told := TOLD.get(path.name):
                Path(told).unlink(missing_ok=True)
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

    def put_back(self, path: Path) -> bool:
        """Whether there was something before the site, which is there again then.

        What was kept of it stays: a run that is stopped before it has noted this does it once more.
        """
        before = self.manifest.before(path)
        if not (before.is_file() or before.is_symlink()):
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.before")
        draft.unlink(missing_ok=True)
        copy_whole(before, draft)
        draft.replace(path)
        return True

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


def owned(host: Host, pattern: str) -> bool:
    """Whether a package that stays has something there."""
    return host.module.run_command(["dpkg-query", "--search", pattern])[0] == 0
