"""Hosts. The environment has the last word; a missing variable stops the process with a sentence that says which."""

import re
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from matchpoint.settings.base import *  # noqa: F403 - settings are inherited
from matchpoint.settings.base import WITH_WHITENOISE, content_security_policy
from matchpoint.settings.environment import door, env, parsed, postgres, required

DEBUG = False

DOMAIN = required("MATCHPOINT_DOMAIN", example="pong.example.com").lower()
if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*", DOMAIN):
    raise ImproperlyConfigured(
        f"MATCHPOINT_DOMAIN is {DOMAIN!r}; it must be a bare host name, for example MATCHPOINT_DOMAIN=pong.example.com"
    )
SECRET_KEY = required("MATCHPOINT_SECRET_KEY", example="$(openssl rand -base64 48)")
SECRET_KEY_FALLBACKS = env.list("MATCHPOINT_SECRET_KEY_FALLBACKS", default=[])  # old keys, while changing it
DATABASE_URL = required("MATCHPOINT_DATABASE_URL", example="postgres://matchpoint:secret@127.0.0.1:5432/matchpoint")
VALKEY_URL = required("MATCHPOINT_VALKEY_URL", example="redis://matchpoint:secret@127.0.0.1:6379/0")
EMAIL_URL = required("MATCHPOINT_EMAIL_URL", example="smtp://mail.example.com:25")

MATCHPOINT_ORIGIN = f"https://{DOMAIN}"
STATE_DIR = Path(env.str("MATCHPOINT_STATE_DIR", default="/var/lib/matchpoint"))
STATIC_ROOT = env.str("MATCHPOINT_STATIC_ROOT", default="/opt/matchpoint/current/static")
if env.bool("MATCHPOINT_SERVE_STATIC", default=False):  # the image of the app; on hosts nginx has the files
    MIDDLEWARE = WITH_WHITENOISE

# Health probes ask this process directly: matchpoint.middleware.edge.
ALLOWED_HOSTS = [DOMAIN, "localhost", "127.0.0.1", "[::1]"]
CSRF_TRUSTED_ORIGINS = [MATCHPOINT_ORIGIN]
CONTENT_SECURITY_POLICY = content_security_policy(f"wss://{DOMAIN}")

# nginx ends TLS, redirects port 80 and sends HSTS for every answer, static files included. Django redirects as well, so
# that a wrong proxy configuration shows itself instead of sending cookies in the clear.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = True
SECURE_REDIRECT_EXEMPT = [r"^livez$", r"^readyz$"]
SILENCED_SYSTEM_CHECKS = ["security.W004"]  # HSTS: see above
SESSION_COOKIE_SECURE = True
SESSION_COOKIE_NAME = "__Host-sessionid"
DEVICE_COOKIE_NAME = "__Host-mp_device"
CSRF_COOKIE_SECURE = True
CSRF_COOKIE_NAME = "__Host-csrftoken"
GUEST_COOKIE_NAME = "__Host-mp_guest"
# What 0.1.0 knows: workers of both releases serve a visitor during a deploy, and after a rollback. To go with 0.3.0.
RENAMED_COOKIES = {CSRF_COOKIE_NAME: "csrftoken", GUEST_COOKIE_NAME: "mp_guest"}
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https"

# One host, or several of which one can be written to: matchpoint.settings.environment.postgres. The backend keeps
# connections for later requests by itself; CONN_MAX_AGE would leave them behind in threads that never come back.
DATABASES: dict[str, Any] = {
    "default": {
        **parsed(
            "MATCHPOINT_DATABASE_URL",
            DATABASE_URL,
            parse=postgres,
            schemes=("postgres", "postgresql"),
            example="postgres://matchpoint:secret@127.0.0.1:5432/matchpoint",
        ),
        "ENGINE": "matchpoint.postgresql",
        "CONN_MAX_AGE": 0,
        # What the server may ask for instead, while the password is changed: matchpoint.postgresql
        "OTHER_PASSWORD": env.str("MATCHPOINT_DATABASE_OTHER_PASSWORD", default=""),
    }
}
DATABASES["default"]["OPTIONS"] = {
    "connect_timeout": 2,  # for each host
    "application_name": "matchpoint",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # ms without an answer to what was sent
    # `manage.py migrate` has longer limits of its own.
    "options": "-c statement_timeout=5000 -c lock_timeout=3000 -c idle_in_transaction_session_timeout=10000",
    **DATABASES["default"]["OPTIONS"],
}

parsed(
    "MATCHPOINT_VALKEY_URL",
    VALKEY_URL,
    parse=str,
    schemes=("redis", "rediss", "unix"),
    example="redis://127.0.0.1:6379/0",
)
CACHES: dict[str, Any] = {
    "default": {
        "BACKEND": "matchpoint.cache.TolerantRedisCache",
        "LOCATION": VALKEY_URL,
        "KEY_PREFIX": "django",
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},
    }
}

STORAGES: dict[str, Any] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "matchpoint.staticfiles.HashedStaticFilesStorage"},
}

_email = parsed(
    "MATCHPOINT_EMAIL_URL",
    EMAIL_URL,
    parse=env.email_url_config,
    # consolemail: into the log, with the links that open accounts. For a trial; preflight lets no site have it
    schemes=("smtp", "smtps", "smtp+tls", "smtp+ssl", "consolemail"),
    example="smtp://mail.example.com:25",
)
# Where the host lets the game through to the relay, when it lets it nowhere else
EMAIL_DOOR = door("MATCHPOINT_EMAIL_DOOR")
EMAIL_BACKEND = "matchpoint.mail.EmailBackend" if EMAIL_DOOR else _email["EMAIL_BACKEND"]
EMAIL_HOST = _email["EMAIL_HOST"]
EMAIL_PORT = _email["EMAIL_PORT"] or 25
EMAIL_HOST_USER = _email["EMAIL_HOST_USER"] or ""
EMAIL_HOST_PASSWORD = _email["EMAIL_HOST_PASSWORD"] or ""
EMAIL_USE_TLS = _email.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = _email.get("EMAIL_USE_SSL", False)
EMAIL_TIMEOUT = 5
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("MATCHPOINT_EMAIL_FROM", default=f"matchpoint@{DOMAIN}")
