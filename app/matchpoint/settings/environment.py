"""The one reader of the environment: a missing or malformed variable is named, with what it was and an example."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

APP_DIR = Path(__file__).resolve().parents[2]

env = environ.Env()


def required(name: str, *, example: str) -> str:
    """The value of `name`; raises ImproperlyConfigured when it is absent or empty."""
    value = os.environ.get(name, "")
    if not value.strip():
        was = "not set" if name not in os.environ else "empty"
        raise ImproperlyConfigured(f"{name} is {was}. Production needs it, for example {name}={example}")
    return value.strip()


def parsed(name: str, value: str, *, parse: Callable[[str], Any], schemes: tuple[str, ...], example: str) -> Any:
    """`parse(value)`; raises ImproperlyConfigured unless `value` is a URL in one of `schemes` that `parse` can read.

    The message shows the scheme only, because the rest may hold a password.
    """
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in schemes or not rest.strip("/"):
        shown = f"{scheme}://…" if separator else "a value without ://"
        raise ImproperlyConfigured(
            f"{name} is {shown}; it must be a URL that begins with {' or '.join(schemes)}://, "
            f"for example {name}={example}"
        )
    try:
        return parse(value)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} cannot be read: {error}. For example {name}={example}") from None


def base_urls(name: str, *, example: str) -> list[str]:
    """Base URLs, separated by commas in `name`, without a slash at the end; none where it is not set."""
    values = [value.strip() for value in os.environ.get(name, "").split(",")]
    return [
        parsed(name, value, parse=str, schemes=("http", "https"), example=example).rstrip("/")
        for value in values
        if value
    ]


def contact_uri(name: str) -> str:
    """The value of `name`, an address of mail or of a page, as RFC 9116 writes it; empty where there is none."""
    value = unquote(os.environ.get(name, "")).strip()
    if not value or re.fullmatch(r"(https://|mailto:)[!-~]+", value):
        return value
    if re.fullmatch(r"[!-~]+@[!-~]+", value) and ":" not in value:
        return f"mailto:{value}"
    raise ImproperlyConfigured(
        f"{name} is {value!r}; it must be an address of mail or an https:// page, for example security@example.com"
    )


def openid() -> dict[str, Any] | None:
    """allauth's description of the OpenID Connect issuer; None where none is set. Values are in %XX."""
    issuer, client_id, secret, name = (
        unquote(os.environ.get(f"MATCHPOINT_OPENID_{part}", "")).strip()
        for part in ("ISSUER", "CLIENT_ID", "CLIENT_SECRET", "NAME")
    )
    if not issuer:
        return None
    is_local = re.match(r"http://(localhost|127\.0\.0\.1)(:\d+)?(/|$)", issuer)
    example = "https://login.example.com/realms/site"
    parsed(
        "MATCHPOINT_OPENID_ISSUER", issuer, parse=str, schemes=("http", "https") if is_local else ("https",),
        example=example,
    )  # fmt: skip
    for part, value in (("CLIENT_ID", client_id), ("CLIENT_SECRET", secret)):
        if not value:
            raise ImproperlyConfigured(f"MATCHPOINT_OPENID_{part} is empty. MATCHPOINT_OPENID_ISSUER needs it")
    return {
        "provider_id": "site",
        "name": name or urlsplit(issuer).hostname,
        "client_id": client_id,
        "secret": secret,
        "settings": {"server_url": issuer.rstrip("/")},
    }


_POSTGRES = re.compile(
    r"postgres(?:ql)?://(?:(?P<user>[^:@/]*)(?::(?P<password>[^@/]*))?@)?"
    r"(?P<hosts>[^@/?]*)/(?P<name>[^/?]+)(?:\?(?P<query>.*))?"
)
_HOST = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>\d+))?")


def postgres(url: str) -> dict[str, Any]:
    """Django's settings of a database from libpq's kind of URL, several hosts included. ValueError if it is none.

    `postgres://user:secret@192.0.2.1:5432,192.0.2.2:5432/name?target_session_attrs=read-write` connects to the first
    host that can be written to. What follows the `?` are libpq's connection parameters.
    """
    found = _POSTGRES.fullmatch(url)
    hosts = [_HOST.fullmatch(host) for host in found["hosts"].split(",")] if found else []
    if found is None or not all(hosts):
        raise ValueError("not postgres://user:secret@host:port[,host:port...]/name[?parameter=value&...]")
    pairs = [(unquote(host["host"]).strip("[]"), host["port"] or "5432") for host in hosts if host]
    return {
        "NAME": unquote(found["name"]),
        "USER": unquote(found["user"] or ""),
        "PASSWORD": unquote(found["password"] or ""),
        "HOST": ",".join(host for host, _ in pairs),
        "PORT": ",".join(port for _, port in pairs),
        "OPTIONS": dict(parse_qsl(found["query"] or "")),
    }


def door(name: str) -> tuple[str, int] | None:
    """host:port as (host, port), None where `name` is not set; raises ImproperlyConfigured when it is neither."""
    value = os.environ.get(name, "").strip()
    if not value:
        return None
    found = _HOST.fullmatch(value)
    if found is None or not found["host"] or not found["port"]:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be host:port, for example {name}=127.0.0.1:8025")
    return found["host"].strip("[]"), int(found["port"])


@dataclass(frozen=True)
class Release:
    """What runs: the release's id, its version, and the commit that it was built from ("" where nobody knows)."""

    id: str = "dev"
    version: str = "dev"
    commit: str = ""
    has_changes: bool = False  # beside that commit

    @property
    def full_version(self) -> str:
        """SemVer's version with the build, which tells apart what has the same version: `0.2.0+3f9c2a7d10be`."""
        return self.id if self.id == self.version else f"{self.version}+{self.id}"

    @property
    def revision(self) -> str:
        """The commit, as `git describe --dirty` says it."""
        return f"{self.commit[:12]}{'-dirty' * self.has_changes}"


def release() -> Release:
    """What the manifest beside a release's `app/` says; a checkout is "dev"."""
    try:
        manifest = json.loads((APP_DIR.parent / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Release()
    return Release(manifest["release"], manifest["version"], manifest["commit"], manifest["changes"])
