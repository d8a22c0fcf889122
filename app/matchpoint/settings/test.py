"""The test suite: production's behaviour on in-memory parts. MATCHPOINT_DATABASE_URL runs it on PostgreSQL.

Tests that start several processes give them one Valkey and one state directory by the variables of production.
"""

import tempfile
from pathlib import Path
from typing import Any

from matchpoint.settings.base import *  # noqa: F403 - settings are inherited
from matchpoint.settings.base import content_security_policy
from matchpoint.settings.environment import env

DEBUG = False
SECRET_KEY = "test-only"  # noqa: S105 - protects nothing
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
MATCHPOINT_ORIGIN = "http://testserver"
VALKEY_URL = env.str("MATCHPOINT_VALKEY_URL", default="fake://")
STATE_DIR = Path(env.str("MATCHPOINT_STATE_DIR", default=str(Path(tempfile.gettempdir()) / "matchpoint-test")))
CONTENT_SECURITY_POLICY = content_security_policy("ws://testserver")

DATABASES: dict[str, Any] = {"default": env.db_url("MATCHPOINT_DATABASE_URL", default="sqlite://:memory:")}
CACHES: dict[str, Any] = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast; the suite hashes hundreds
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
DEFAULT_FROM_EMAIL = "matchpoint@example.com"
