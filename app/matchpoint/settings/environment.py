"""The one reader of the environment: a missing or malformed variable is named, with what it was and an example."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    """`parse(value)`; raises ImproperlyConfigured unless `value` is a URL with a host in one of `schemes`.

    The message shows the scheme only, because the rest may hold a password.
    """
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in schemes or not rest.strip("/"):
        shown = f"{scheme}://…" if separator else "a value without ://"
        raise ImproperlyConfigured(
            f"{name} is {shown}; it must be a URL that begins with {' or '.join(schemes)}://, "
            f"for example {name}={example}"
        )
    return parse(value)


def release_id() -> str:
    """The id in the manifest beside a release's `app/`; "dev" in a checkout."""
    try:
        manifest = json.loads((APP_DIR.parent / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "dev"
    return str(manifest["release"])
