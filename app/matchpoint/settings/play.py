"""One process in a checkout: nothing to install, nothing to configure, state in `.cache/play`."""

import secrets
from pathlib import Path
from typing import Any

from matchpoint.settings.base import *  # noqa: F403 - settings are inherited
from matchpoint.settings.base import WITH_WHITENOISE, content_security_policy
from matchpoint.settings.environment import APP_DIR, env

DEBUG = False

STATE_DIR = Path(env.str("MATCHPOINT_STATE_DIR", default=str(APP_DIR.parent / ".cache" / "play")))
STATE_DIR.mkdir(parents=True, exist_ok=True)

_secret_file = STATE_DIR / "secret_key"
if not _secret_file.exists():
    _secret_file.touch(mode=0o600)
    _secret_file.write_text(secrets.token_urlsafe(48))
SECRET_KEY = _secret_file.read_text()

ALLOWED_HOSTS = ["*"]  # played from a phone in the same network, by whatever name
MATCHPOINT_ORIGIN = env.str("MATCHPOINT_ORIGIN", default="http://localhost:8000")
VALKEY_URL = "fake://"
CONTENT_SECURITY_POLICY = content_security_policy("ws:")

DATABASES: dict[str, Any] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": STATE_DIR / "db.sqlite3",
        "OPTIONS": {
            "timeout": 5,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
CACHES: dict[str, Any] = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# WhiteNoise straight from the sources, so that a changed file shows on reload.
MIDDLEWARE = WITH_WHITENOISE
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = True

EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
DEFAULT_FROM_EMAIL = "matchpoint@localhost"
