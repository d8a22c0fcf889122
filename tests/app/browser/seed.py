"""Run by `manage.py shell` of a site that plays: accounts, a match and a report, and what pages there are, as JSON."""

import json
import sys
import time
from datetime import timedelta
from importlib import import_module

from allauth.account.models import EmailAddress
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from accounts.models import User
from live.records import FinishedMatch, MatchSpec, PlayerSpec
from matches.services import match_finish
from moderation.models import Report

NOT_OURS = ("admin/", "i18n/", "ops/auth", "ops/enter")


def plain_paths(resolver: URLResolver, prefix: str = "") -> list[str]:
    """The addresses that take no arguments."""
    found = []
    for each in resolver.url_patterns:
        path = prefix + str(each.pattern).removeprefix("^").removesuffix("$").removesuffix("\\Z")
        if path.startswith(NOT_OURS) or "<" in path or "(" in path:
            continue
        found += plain_paths(each, path) if isinstance(each, URLResolver) else [f"/{path}"]
        assert isinstance(each, URLResolver | URLPattern)
    return found


def session_of(user: User) -> str:
    """The key of a session of somebody who has just proved everything."""
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[-1]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    proof = {"method": "password", "at": time.time(), "username": user.username, "reauthenticated": True}
    session["account_authentication_methods"] = [proof]
    session["account_authentication_methods_user"] = str(user.pk)
    session["second_factor"] = {"user": user.pk, "at": int(time.time())}
    session.create()
    return str(session.session_key)


def played(match_id: str, left: tuple[str, str], right: tuple[str, str]) -> None:
    """A match that left has won; identity and name of each."""
    began = timezone.now() - timedelta(hours=1)
    players = [
        PlayerSpec(side=side, kind="human", identity=identity, name=name)
        for side, (identity, name) in enumerate((left, right))
    ]
    spec = MatchSpec(match_id, "friend", None, 7, (players[0], players[1]), began.isoformat())
    serve = {"v": 1, "k": "serve", "t": 1_500_000, "x": 500.0, "y": 300.0, "vx": 560.0, "vy": 0.0}
    point = {"v": 2, "k": "point", "t": 2_600_000, "side": 0, "score": [1, 0]}
    match_finish(
        record=FinishedMatch(
            spec=spec,
            started_at=began,
            finished_at=began + timedelta(seconds=90),
            duration_us=88_000_000,
            winner=0,
            reason="score",
            score=(7, 3),
            rules_version=1,
            timeline=[serve, point],
        )
    )


ada, bea = (User.objects.create_user(name, f"{name}@example.com", "correct horse 42") for name in ("ada", "bea"))
EmailAddress.objects.create(user=ada, email=ada.email, verified=True, primary=True)
boss = User.objects.create_superuser("boss", "boss@example.com", "correct horse 42")
TOTP.activate(boss, generate_totp_secret())
own = (f"u:{ada.pk}", ada.name)
played("axeMatch1234", own, (f"u:{bea.pk}", bea.name))
played("axeGuest1234", own, ("g:rude", "Rude Guest"))
Report.objects.create(about=bea, by=ada, kind="name", text="It is rude.")
found = {
    "sessions": {user.username: session_of(user) for user in (ada, boss)},
    "players": {user.username: user.public_id for user in (ada, bea)},
    "paths": plain_paths(get_resolver()),
}
sys.stdout.write("SEED" + json.dumps(found))
