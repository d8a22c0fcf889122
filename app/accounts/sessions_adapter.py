from collections.abc import Iterable

from allauth.usersessions.adapter import DefaultUserSessionsAdapter
from allauth.usersessions.models import UserSession

from accounts.services import sockets_close


class SessionsAdapter(DefaultUserSessionsAdapter):
    """allauth's list of sessions, whose end is also that of their match sockets."""

    def end_sessions(self, sessions: Iterable[UserSession]) -> None:
        ended = list(sessions)
        super().end_sessions(ended)
        for user_pk in {session.user_id for session in ended}:
            sockets_close(user_pk=user_pk)
