#!/usr/bin/python3
"""Look whether a store has backups, from a host that may have nothing installed yet."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: backup_store
short_description: whether there is a file in an SFTP store
description:
  - Changes nothing, there or here; needs the SFTP client that comes with Debian's SSH server. The key lies in a
    temporary folder for as long as it takes. Works in check mode.
  - A store that cannot be asked has nothing, as far as this can tell; C(why) says why.
options:
  host: {description: where it is, type: str, required: true}
  port: {description: its port, type: int, default: 22}
  user: {description: the account, type: str, required: true}
  key: {description: private part of the key that opens it, type: str, required: true}
  known_hosts: {description: "the keys that it may show, as C(known_hosts) has them", type: str, required: true}
  path: {description: of the file, type: str, required: true}
"""

PATIENCE_S = 10


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "host": {"required": True},
            "port": {"type": "int", "default": 22},
            "user": {"required": True},
            "key": {"required": True, "no_log": True},
            "known_hosts": {"required": True},
            "path": {"required": True},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    if not shutil.which("sftp"):
        module.exit_json(changed=False, is_there=False, why="there is no sftp on this host")
    with tempfile.TemporaryDirectory(dir=module.tmpdir) as folder:
        for name in ("key", "known_hosts"):
            with os.fdopen(os.open(Path(folder, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(wanted[name].rstrip("\n") + "\n")
        options = {
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "IdentityFile": f"{folder}/key",
            "UserKnownHostsFile": f"{folder}/known_hosts",
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "ConnectTimeout": PATIENCE_S,
        }
        command = ["sftp", "-q", "-b", "-", "-P", str(wanted["port"])]
        command += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        command.append(f"{wanted['user']}@{wanted['host']}")
        status, out, err = module.run_command(command, data=f'ls -1 "{wanted["path"]}"\n')
    is_there = status == 0 and wanted["path"] in out
    module.exit_json(changed=False, is_there=is_there, why="" if is_there else " ".join(err.split()))


if __name__ == "__main__":
    main()
