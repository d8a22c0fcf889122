"""How strong players are. Every number here follows from the rated matches: ratings.services.ratings_refold."""

from datetime import datetime
from typing import Final

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from matches.models import SIDES, Match, Side
from ratings.glicko import Strength

PROVISIONAL_OVER: Final = 110.0  # deviation; about a dozen matches bring a new player below


class Rating(models.Model):
    """The standing of a user after the last rated match; who never played one has no row."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="rating"
    )
    rating = models.FloatField()
    deviation = models.FloatField(help_text=_("As of the last rated match; it grows from then on."))
    volatility = models.FloatField()
    played = models.PositiveIntegerField(help_text=_("Rated matches."))
    rated_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(
                fields=["-rating", "user"], name="rating_leaderboard", condition=Q(deviation__lte=PROVISIONAL_OVER)
            )
        ]
        constraints = [models.CheckConstraint(condition=Q(deviation__gt=0), name="rating_deviation_positive")]

    def __str__(self) -> str:
        return f"{self.shown}{'?' if self.is_provisional else ''}"

    @property
    def shown(self) -> int:
        return round(self.rating)

    @property
    def strength(self) -> Strength:
        return Strength(self.rating, self.deviation, self.volatility)

    def strength_at(self, when: datetime) -> Strength:
        return self.strength.after_idle(when - self.rated_at)

    @property
    def is_provisional(self) -> bool:
        return self.strength_at(timezone.now()).deviation > PROVISIONAL_OVER


class RatingChange(models.Model):
    """What a rated match did to the player of one side. Two of a match; their order is that of the matches' keys.

    Of somebody whose account is gone the numbers stay, because the opponent's follow from them.
    """

    # No index of its own: the unique constraint begins with the match.
    match = models.ForeignKey(Match, on_delete=models.CASCADE, related_name="rating_changes", db_index=False)
    side = models.SmallIntegerField(choices=Side.choices)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="rating_changes",
        db_index=False,  # the index below begins with it
    )
    played = models.PositiveIntegerField(help_text=_("Rated matches of the player, this one included."))
    rated_at = models.DateTimeField()
    rating_before = models.FloatField()
    deviation_before = models.FloatField(help_text=_("With the growth since the match before."))
    rating_after = models.FloatField()
    deviation_after = models.FloatField()
    volatility_after = models.FloatField()

    class Meta:
        ordering = ["match", "side"]
        indexes = [models.Index(fields=["user", "-match"], name="rating_change_of_user")]
        constraints = [
            models.UniqueConstraint(fields=["match", "side"], name="rating_change_match_side_unique"),
            models.CheckConstraint(condition=Q(side__in=SIDES), name="rating_change_side_known"),
        ]

    def __str__(self) -> str:
        return f"{self.match}: {self.rating_before:.0f} to {self.rating_after:.0f}"

    @property
    def is_provisional(self) -> bool:
        return self.deviation_after > PROVISIONAL_OVER
