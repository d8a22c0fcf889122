#!/usr/bin/python3
"""Whether the world around a host is as its settings say: asked from where it matters, and nothing is changed there."""

from __future__ import annotations

import json
import os
import re
import smtplib
import socket
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: world_probe
short_description: ask what a host needs of others
description:
  - Asks all at a time, for ten seconds at most. No page, mail, heartbeat or file is made. Works in check mode.
  - Returns C(faults), sentences that name the setting, what was found and what to do, without secrets.
options:
  probes:
    description:
      - C(kind) and C(setting), and by kind C(url), C(ca) (PEM), C(sender), C(to), C(keys), C(key), C(paths),
        C(host) and C(port).
      - C(acme), C(web) and C(hook) are addresses that answer; C(connect) one that is only connected to, because an
        answer would be a heartbeat; C(smtp) a relay that lets us in and takes our mail; C(sftp) a store that shows the
        right key, and lets C(key) in where there is one; C(apt) the host's package sources; C(mounts) disks that are
        where fstab says; C(port) a port that nothing on the way closes.
    type: list
    elements: dict
    required: true
"""

PATIENCE_S = 10
MTAB, FSTAB = Path("/proc/self/mounts"), Path("/etc/fstab")
FLEETING = {"tmpfs", "ramfs", "ramdisk"}


class Fault(Exception):
    """What was found, and what to do."""

    def __init__(self, found: str, fix: str) -> None:
        super().__init__(f"{found}: {fix}")


def reason(error: BaseException) -> str:
    """Why it failed, in few words."""
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"its certificate is not valid ({inner.verify_message})"
    if isinstance(inner, ssl.SSLError):
        return f"no TLS is spoken there ({inner.reason})"
    if isinstance(inner, socket.gaierror):
        return "its name does not resolve"
    if isinstance(inner, TimeoutError):
        return f"no answer within {PATIENCE_S} s"
    return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__


def place(url: str) -> str:
    """A URL without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"


def context(ca: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=ca or None)


def ask(url: str, *, ca: str = "", method: str = "GET", proxies: dict[str, str] | None = None) -> tuple[int, bytes]:
    """The status and the beginning of the answer. Raises OSError where there is none."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"not an address of the web: {url}")
    request = urllib.request.Request(url, method=method, headers={"User-Agent": "matchpoint-doctor"})  # noqa: S310
    handlers: list[Any] = [urllib.request.HTTPSHandler(context=context(ca))]
    handlers += [urllib.request.ProxyHandler(proxies)] if proxies is not None else []
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read(2**16)
    except urllib.error.HTTPError as error:
        return error.code, b""


def acme(probe: dict[str, Any]) -> None:
    way = "it must be the address of an ACME directory that the host reaches, e.g. https://acme-v02.api.letsencrypt.org/directory"
    try:
        status, text = ask(probe["url"], ca=probe.get("ca", ""))
    except (OSError, ValueError) as error:
        raise Fault(f"{place(probe['url'])} cannot be asked, {reason(error)}", way) from None
    try:
        is_directory = "newAccount" in json.loads(text)
    except ValueError:
        is_directory = False
    if status != 200 or not is_directory:
        raise Fault(f"{place(probe['url'])} answers {status} and is no ACME directory", way)


def web(probe: dict[str, Any]) -> None:
    fix = probe.get("fix") or "open the way to it from this host, or correct the address"
    try:
        status, _ = ask(probe["url"], ca=probe.get("ca", ""))
    except (OSError, ValueError) as error:
        raise Fault(f"{place(probe['url'])} cannot be reached, {reason(error)}", fix) from None
    if status != 200:
        raise Fault(f"{place(probe['url'])} answers {status}", fix)


def hook(probe: dict[str, Any]) -> None:
    """Asks what could be asked: OPTIONS rings nowhere, and many do not know it."""
    fix = "correct the address, or open the way to it from this host; `make test-alert` tells whether it takes a page"
    try:
        status, _ = ask(probe["url"], method="OPTIONS")
    except (OSError, ValueError) as error:
        raise Fault(f"{place(probe['url'])} cannot be reached, {reason(error)}", fix) from None
    if status >= 500 and status != 501:
        raise Fault(f"{place(probe['url'])} answers {status}", fix)


def connect(probe: dict[str, Any]) -> None:
    parts = urlsplit(probe["url"])
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    try:
        with socket.create_connection((host, parts.port or (443 if is_tls else 80)), PATIENCE_S) as plain:
            if is_tls:
                context("").wrap_socket(plain, server_hostname=host).close()
    except OSError as error:
        fix = "correct the address, or open the way to it from this host"
        raise Fault(f"{place(probe['url'])} cannot be reached, {reason(error)}", fix) from None


def smtp(probe: dict[str, Any]) -> None:
    parts = urlsplit(probe["url"])
    host, where = parts.hostname or "", place(probe["url"])
    port = parts.port or {"smtp+tls": 587, "smtp+ssl": 465}.get(parts.scheme, 25)
    try:
        if parts.scheme == "smtp+ssl":
            relay: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=PATIENCE_S, context=context(""))
        else:
            relay = smtplib.SMTP(host, port, timeout=PATIENCE_S)
    except (OSError, smtplib.SMTPException) as error:
        raise Fault(
            f"{where} cannot be reached, {reason(error)}",
            "correct host and port, or open the way to it: many providers close port 25, and 587 works",
        ) from None
    with relay:
        try:
            if parts.scheme == "smtp+tls":
                relay.starttls(context=context(""))
            if parts.username:
                relay.login(unquote(parts.username), unquote(parts.password or ""))
        except smtplib.SMTPAuthenticationError as error:
            found = f"{where} lets {unquote(parts.username or '')} not in ({words(error.smtp_error)})"
            raise Fault(found, "correct user and password, with special characters as %XX") from None
        except (OSError, smtplib.SMTPException) as error:
            found = f"{where} cannot be logged in to, {reason(error)}"
            raise Fault(
                found, "smtp+tls:// is for STARTTLS, smtp+ssl:// for TLS on port 465, smtp:// for neither"
            ) from None
        try:
            relay.ehlo_or_helo_if_needed()
            for code, said in (relay.mail(probe["sender"]), relay.rcpt(probe["to"])):
                if code >= 500:  # what it may take later is no fault
                    raise Fault(
                        f"{where} takes no mail from {probe['sender']} to {probe['to']} ({words(said)})",
                        "let it relay for this sender and host, or correct matchpoint_admin_email",
                    )
            relay.rset()
        except (OSError, smtplib.SMTPException) as error:
            raise Fault(f"{where} hung up, {reason(error)}", "look into the relay's log") from None


def words(said: bytes | str) -> str:
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    return " ".join(text.split())[:200]


def keys_of(text: str) -> set[str]:
    """The keys in the lines of known_hosts: `type base64`."""
    return {" ".join(found) for found in re.findall(r"\b((?:ssh|ecdsa)-[\w@.-]+) (AAAA\S+)", text)}


def sftp(probe: dict[str, Any]) -> None:
    parts = urlsplit(probe["url"])
    host, port, where = parts.hostname or "", str(parts.port or 22), place(probe["url"])
    done = run("ssh-keyscan", "-T", str(PATIENCE_S), "-p", port, host)
    shown = keys_of(done.stdout)
    if not shown:
        fix = "correct the address, or open the way to it from the database host"
        raise Fault(f"{where} shows no SSH key, it cannot be reached", fix)
    if not shown & keys_of(probe["keys"]):
        raise Fault(
            f"{where} shows other keys than matchpoint_backup_host_keys",
            "ask whoever runs it; when it has new ones, write what `ssh-keyscan` prints",
        )
    if not probe.get("key"):
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("key", probe["key"]), ("known_hosts", done.stdout)):
            with os.fdopen(os.open(Path(folder, name), os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                file.write(text.rstrip("\n") + "\n")
        options = ["BatchMode=yes", "IdentitiesOnly=yes", f"IdentityFile={folder}/key", f"ConnectTimeout={PATIENCE_S}"]
        options += [f"UserKnownHostsFile={folder}/known_hosts", "GlobalKnownHostsFile=/dev/null"]
        command = ["sftp", "-q", "-b", "-", "-P", port, *(word for one in options for word in ("-o", one))]
        done = run(*command, f"{parts.username}@{host}", input=f'ls -1 "{parts.path}"\n')
    if done.returncode:
        found = f"{where} does not let {parts.username} in, or has no folder {parts.path} ({words(done.stderr)})"
        raise Fault(found, "let the key that `make backup-key` prints in, for SFTP, with that folder")


def run(*command: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=3 * PATIENCE_S, input=input,
            env=os.environ | {"LC_ALL": "C.UTF-8"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def apt(probe: dict[str, Any]) -> None:
    done = run("apt-get", "update", "--print-uris")
    urls = re.findall(r"^'(https?://\S+/(?:InRelease|Release))'", done.stdout, re.MULTILINE)
    if done.returncode or not urls:
        raise Fault(
            f"there are none ({words(done.stderr)})", "write Debian's to /etc/apt/sources.list.d/debian.sources"
        )
    told = dict(re.findall(r'^Acquire::(https?)::Proxy "(\S+)";', run("apt-config", "dump").stdout, re.MULTILINE))
    proxies = {scheme: url for scheme, url in told.items() if url != "DIRECT"}
    for url in dict.fromkeys(urls):
        try:
            status, _ = ask(url, proxies=proxies or None)
        except (OSError, ValueError) as error:
            found, way = f"{place(url)} cannot be reached, {reason(error)}", f" through {proxies}" if proxies else ""
            raise Fault(found + way, "open the way to it, name a mirror, or a proxy in /etc/apt/apt.conf.d/") from None
        if status >= 400:
            raise Fault(f"{url} answers {status}", "correct the source, or name another mirror")


def mounts(probe: dict[str, Any]) -> None:
    mounted = {line.split()[1]: line.split()[2] for line in MTAB.read_text().splitlines()}
    planned = [line.split() for line in FSTAB.read_text().splitlines()] if FSTAB.exists() else []
    planned = [words for words in planned if len(words) > 3 and not words[0].startswith("#") and words[2] != "swap"]
    for path in sorted(probe["paths"]):
        above = {str(each) for each in (Path(path), *Path(path).parents)}
        for _, point, *_ in planned:
            if point in above and point not in mounted:
                raise Fault(
                    f"{path} is to be on the disk of {point}, which is in /etc/fstab and not mounted",
                    f"`mount {point}` before anything is written beneath it",
                )
        nearest = max((point for point in above if point in mounted), key=len, default="/")
        if mounted.get(nearest) in FLEETING:
            raise Fault(f"{path} is on {nearest}, which is in memory", "mount a disk there: a reboot would lose it")


def port(probe: dict[str, Any]) -> None:
    try:
        socket.create_connection((probe["host"], probe["port"]), PATIENCE_S).close()
    except ConnectionRefusedError:
        return  # nothing listens there yet, and nothing on the way says no
    except OSError as error:
        raise Fault(
            f"port {probe['port']} of {probe['host']} is not reached from here, {reason(error)}",
            "correct the DNS record, or open the port in the firewall or security group before the host",
        ) from None


KINDS: dict[str, Callable[[dict[str, Any]], None]] = {
    "acme": acme, "web": web, "hook": hook, "connect": connect, "smtp": smtp, "sftp": sftp, "apt": apt,
    "mounts": mounts, "port": port,
}  # fmt: skip


def told(probe: dict[str, Any]) -> str:
    """The sentence about what is wrong, "" for nothing."""
    try:
        KINDS[probe["kind"]](probe)
    except Fault as fault:
        return f"{probe['setting']}: {fault}"
    return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={"probes": {"type": "list", "elements": "dict", "required": True}},
        supports_check_mode=True,
    )
    probes = module.params["probes"]
    with ThreadPoolExecutor(max_workers=max(1, len(probes))) as pool:
        module.exit_json(changed=False, faults=list(filter(None, pool.map(told, probes))))


if __name__ == "__main__":
    main()
