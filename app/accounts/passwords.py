"""Passwords that others try first are refused, without asking anybody: docs/decisions/0022-passwords.md."""

from typing import Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from accounts.models import User

GUESSES_MIN: Final = 1_000_000
LOOKED_AT: Final = (
    20  # characters; the rest makes it better only, and letters like 4@8({[ take seconds when there are many
)


class GuessableValidator:
    """Refuses what is guessed within a million tries by who has lists of leaked ones, names, words and keyboards."""

    def validate(self, password: str, user: User | None = None) -> None:
        from zxcvbn import zxcvbn  # 15 MB of lists, for processes that ever set a password

        own = [user.username, user.display_name, *user.email.split("@")] if user else []
        found = zxcvbn(password[:LOOKED_AT], user_inputs=["matchpoint", *filter(None, own)])
        if found["guesses"] < GUESSES_MIN:
            raise ValidationError(
                _("Somebody would guess this password. Three or four words that do not belong together hold."),
                code="password_guessable",
            )

    def get_help_text(self) -> str:
        return _("Your password is none that is tried first: leaked ones, names, dates, rows of keys.")
