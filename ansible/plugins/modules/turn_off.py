#!/usr/bin/python3
"""Stop and remove what the site has on a host and no longer needs there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host_cleaning import Host, Wrong, unit_of
from ansible.module_utils.host_manifest import Manifest
from ansible.module_utils.host_uninstall import uninstall

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

STANDBY = Path("/var/lib/postgresql/17/main/standby.signal")


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
