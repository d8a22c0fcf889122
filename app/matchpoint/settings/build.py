"""`collectstatic` on the control machine: no database, no Valkey, no secret."""

from typing import Any

from matchpoint.settings.base import *  # noqa: F403 - settings are inherited
from matchpoint.settings.environment import APP_DIR, env

DEBUG = False
SECRET_KEY = "build-only"  # noqa: S105 - signs nothing
ALLOWED_HOSTS: list[str] = []
MATCHPOINT_ORIGIN = "https://build.invalid"
VALKEY_URL = "fake://"
STATE_DIR = APP_DIR.parent / ".cache" / "build"
DATABASES: dict[str, Any] = {"default": {"ENGINE": "django.db.backends.dummy"}}
CACHES: dict[str, Any] = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}

STATIC_ROOT = env.str("MATCHPOINT_STATIC_ROOT", default=str(STATE_DIR / "static"))
STORAGES: dict[str, Any] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "matchpoint.staticfiles.HashedStaticFilesStorage"},
}
