"""Everything that does not differ between production, play, test and build, or has one safe default."""

from typing import Any
from urllib.parse import unquote

from csp.constants import NONCE, NONE, SELF
from django.utils.translation import gettext_lazy as _

from matchpoint.logs import is_news
from matchpoint.settings.environment import APP_DIR, base_urls, contact_uri, env, openid, release

RELEASE = release()
RELEASE_ID = RELEASE.id
MATCHPOINT_HOST = env.str("MATCHPOINT_HOST", default="local")
# What this process was started with: the same on every host, and another one after each deploy that restarts it
DEPLOYED = f"{RELEASE_ID}-{env.str('MATCHPOINT_CONFIG', default='')}".rstrip("-")
# Port of the live worker that takes matches only when others drain or die
LIVE_RESERVE_PORT = env.int("MATCHPOINT_LIVE_RESERVE_PORT", default=0)

INSTALLED_APPS = [
    "matchpoint.apps.StaffAdminConfig",  # django.contrib.admin with a second factor in front
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",  # its tables are there while it is off: accounts that go take their rows along
    "allauth.usersessions",
    "django.contrib.humanize",  # for its page
    "csp",
    "django_prometheus",
    "accounts",
    "audit",
    "matches",
    "ratings",
    "privacy",
    "moderation",
    "ops",
    "status",
]

MIDDLEWARE = [
    "matchpoint.middleware.edge",
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "matchpoint.middleware.permissions_policy",
    "matchpoint.middleware.private",
    "status.middleware.anonymous",
    "matchpoint.middleware.renamed_cookies",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.middleware.player",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

# Static files by WhiteNoise, where no nginx has them: with the headers of security, before anything about visitors
WITH_WHITENOISE = [*MIDDLEWARE[:3], "whitenoise.middleware.WhiteNoiseMiddleware", *MIDDLEWARE[3:]]

ROOT_URLCONF = "matchpoint.urls"
ASGI_APPLICATION = "matchpoint.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [APP_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "ops.context.site",
            ],
        },
    },
]

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Accounts. The second factor of staff is enforced by accounts.admin_site, not here.
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
    {"NAME": "accounts.passwords.GuessableValidator"},
]
PASSWORD_HASHERS = [
    "accounts.hashers.Argon2Hasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "optional"
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[Matchpoint] "
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False  # nobody can make us write to strangers
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_PREVENT_ENUMERATION = "strict"  # an address belongs to who confirms it, not to who registers with it
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_FORMS = {"reset_password": "accounts.forms.ResetPasswordForm"}
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_USERNAME_MIN_LENGTH = 3
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = True
DEVICE_COOKIE_NAME = "mp_device"
GUEST_COOKIE_NAME = "mp_guest"
# Cookies that had another name: {name: the one before}, in both of which they are written for a while
RENAMED_COOKIES: dict[str, str] = {}
USERSESSIONS_ADAPTER = "accounts.sessions_adapter.SessionsAdapter"
MFA_ADAPTER = "accounts.mfa_adapter.MFAAdapter"
MFA_SUPPORTED_TYPES = ["webauthn", "totp", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_FORMS = {
    "add_webauthn": "accounts.passkeys.AddPasskeyForm",
    "edit_webauthn": "accounts.passkeys.EditPasskeyForm",
    "authenticate_webauthn": "accounts.passkeys.AuthenticatePasskeyForm",
    "reauthenticate_webauthn": "accounts.passkeys.ReauthenticatePasskeyForm",
    "login_webauthn": "accounts.passkeys.LoginPasskeyForm",
}
MFA_TOTP_ISSUER = "Matchpoint"
MFA_TOTP_TOLERANCE = 1  # a code is good for 30 s more on either side: phones' clocks drift
STAFF_SECOND_FACTOR_MAX_AGE_S = 12 * 3600

# Accounts elsewhere (OpenID Connect); without an issuer there is no way to them
OPENID = openid()
SOCIALACCOUNT_ADAPTER = "accounts.openid_adapter.OpenIDAdapter"
SOCIALACCOUNT_AUTO_SIGNUP = False  # people choose a name that others see
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False
SOCIALACCOUNT_LOGIN_ON_GET = True  # a form that ends elsewhere is against the policy of content
SOCIALACCOUNT_REQUESTS_TIMEOUT = 3
SOCIALACCOUNT_PROVIDERS: dict[str, Any] = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [OPENID]}}
if OPENID:
    INSTALLED_APPS.append("allauth.socialaccount.providers.openid_connect")
else:
    SOCIALACCOUNT_PROVIDERS = {}

# Sessions survive the loss of Valkey, because the database has them too.
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True  # scripts take the token from the page
CSRF_FAILURE_VIEW = "matchpoint.errors.csrf_failure"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("de", _("German")), ("fr", _("French")), ("es", _("Spanish"))]
LOCALE_PATHS = [APP_DIR / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATICFILES_DIRS = [APP_DIR / "static"]

SECURE_REFERRER_POLICY = "same-origin"
PERMISSIONS_POLICY = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
X_FRAME_OPTIONS = "DENY"
# Addresses whose X-Forwarded-For is believed: the edges. nginx on the same host by default.
TRUSTED_PROXIES = env.list("MATCHPOINT_TRUSTED_PROXIES", default=["127.0.0.1", "::1"])
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024


def content_security_policy(*connect: str) -> dict[str, Any]:
    """A policy without inline code: scripts come from this origin, or carry the nonce of the response.

    `connect` are the origins of sockets; older Safari does not count wss: of the same host as 'self'.
    """
    return {
        "DIRECTIVES": {
            "default-src": [NONE],
            "script-src": [SELF, NONCE],
            "style-src": [SELF],
            "img-src": [SELF, "data:"],  # data: is the QR code of the second factor
            "font-src": [SELF],
            "media-src": [SELF],
            "manifest-src": [SELF],
            "connect-src": [SELF, *connect],
            "form-action": [SELF],
            "base-uri": [NONE],
            "frame-ancestors": [NONE],
        },
    }


# Privacy and imprint: who runs the site, in lines, and where to write to; values of the environment are in %XX
IMPRINT = [unquote(line) for line in env.list("MATCHPOINT_IMPRINT", default=[])]
CONTACT = unquote(env.str("MATCHPOINT_CONTACT", default=""))
SECURITY_CONTACT = contact_uri("MATCHPOINT_SECURITY_CONTACT")  # of /.well-known/security.txt; empty: there is none
DELETION_DAYS = env.int("MATCHPOINT_DELETION_DAYS", default=14)  # between the wish to delete an account and its end
BACKUP_DAYS = env.int("MATCHPOINT_BACKUP_DAYS", default=0)  # that a backup holds what was deleted; 0: there are none

# The monitoring hosts, every one of them; whichever answers is asked. Empty: there are none.
PROMETHEUS_URLS = base_urls("MATCHPOINT_PROMETHEUS_URLS", example="http://127.0.0.1:9090")
ALERTMANAGER_URLS = base_urls("MATCHPOINT_ALERTMANAGER_URLS", example="http://127.0.0.1:9093")

# Runbooks: a release carries them inside, a checkout has them beside the app
RUNBOOKS_DIR = APP_DIR / "runbooks" if RELEASE_ID != "dev" else APP_DIR.parent / "monitoring/runbooks"

# django-prometheus. The listener is started by `matchpoint.serve`; nothing is exported under the site's own URLs.
PROMETHEUS_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, float("inf"))
PROMETHEUS_EXPORT_MIGRATIONS = False  # it would query the database at start, and /readyz tells the same

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"news": {"()": lambda: is_news}},
    "formatters": {"line": {"()": "matchpoint.logs.LineFormatter"}},
    "handlers": {
        "stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "line"},
        "null": {"class": "logging.NullHandler"},
    },
    "root": {"handlers": ["stdout"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.server": {"handlers": [], "propagate": True},
        # Scanners send any Host; the answer is 400 and nobody needs to read about it.
        "django.security.DisallowedHost": {"handlers": ["null"], "propagate": False},
        "fido2": {"level": "WARNING"},  # passkeys are in the audit trail
        # Every 4xx would be a line; the access log of nginx has them.
        "django.request": {"level": "ERROR", "filters": ["news"]},
    },
}
