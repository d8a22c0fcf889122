#!/usr/bin/python3
"""What there is of certificates on a host, in one look."""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: certbot_state
short_description: which certificates are on the disk, which one is renewed, which one is served
description:
  - Changes nothing, and asks nobody but the server on the host itself. So a deploy that finds everything as it should
    be has one task to run instead of one for each thing that could be missing.
options:
  current: {description: link to the folder of the certificate that is served, type: path, required: true}
  live: {description: folder of the certificate that is to be served, type: path, required: true}
  renewals: {description: folder where certbot notes what it renews, type: path, default: /etc/letsencrypt/renewal}
  kept: {description: paths that are looked for, type: list, elements: path, default: []}
  port: {description: where the server offers TLS on 127.0.0.1; without it nothing is asked, type: int}
  server_name: {description: which certificate it is asked for, type: str}
"""

RETURN = """
has_current: {description: whether there is something to serve, type: bool, returned: always}
is_current: {description: whether C(current) leads to C(live), type: bool, returned: always}
has_live: {description: whether certbot came to the end of getting it, type: bool, returned: always}
others: {description: what else of ours certbot renews, as paths of its notes, type: list, returned: always}
kept: {description: those of C(kept) that are there, type: list, returned: always}
on_disk: {description: "SHA-256 of what is in C(live), else of what is in C(current)", type: str, returned: always}
served: {description: SHA-256 of the certificate that is served; empty when none is, type: str, returned: always}
"""

CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
CONNECT_SECONDS = 10


def is_whole(path: Path) -> bool:
    """Whether there is anything in it: an empty file is what a full disk leaves."""
    return path.is_file() and path.stat().st_size > 0


def on_disk(chain: Path) -> str:
    """SHA-256 of the first certificate of a chain; empty without one."""
    found = CERTIFICATE.search(chain.read_text()) if chain.is_file() else None
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(found.group())).hexdigest() if found else ""


def served(port: int, name: str) -> str:
    """SHA-256 of what a server on this host answers with, trusted or not; empty without an answer."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=CONNECT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=name) as connection,
        ):
            return hashlib.sha256(connection.getpeercert(binary_form=True) or b"").hexdigest()
    except OSError:
        return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "current": {"type": "path", "required": True},
            "live": {"type": "path", "required": True},
            "renewals": {"type": "path", "default": "/etc/letsencrypt/renewal"},
            "kept": {"type": "list", "elements": "path", "default": []},
            "port": {"type": "int"},
            "server_name": {},
        },
        required_together=[("port", "server_name")],
        supports_check_mode=True,
    )
    given = module.params
    current, live, renewals = Path(given["current"]), Path(given["live"]), Path(given["renewals"])
    renewal = renewals / f"{live.name}.conf"
    # Certbot writes that file last. Without it a folder is what a full disk or a killed run left
    has_live = is_whole(renewal)
    module.exit_json(
        changed=False,
        has_current=is_whole(current / "fullchain.pem"),
        is_current=current.is_symlink() and current.readlink() == live,
        has_live=has_live,
        others=sorted(str(path) for path in renewals.glob("matchpoint-*.conf") if path != renewal),
        kept=[path for path in given["kept"] if Path(path).exists()],
        on_disk=on_disk((live if has_live else current) / "fullchain.pem"),
        served=served(given["port"], given["server_name"]) if given["port"] else "",
    )


if __name__ == "__main__":
    main()
