"""Finished matches. A match that is being played lives in Valkey and in its worker (live.directory), not here."""

import gzip
import json
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

SIDES = (0, 1)


class Mode(models.TextChoices):
    AI = "ai", _("against the computer")
    FRIEND = "friend", _("against a friend")


class Level(models.TextChoices):
    EASY = "easy", _("easy")
    NORMAL = "normal", _("normal")
    HARD = "hard", _("hard")


class EndReason(models.TextChoices):
    SCORE = "score", _("played to the end")
    FORFEIT = "forfeit", _("forfeit")
    ABANDONED = "abandoned", _("abandoned")


class Side(models.IntegerChoices):
    LEFT = 0, _("left")
    RIGHT = 1, _("right")


class Match(models.Model):
    """The result of a match. Winner null: nobody, both players were gone."""

    public_id = models.CharField(max_length=32)
    mode = models.CharField(max_length=10, choices=Mode.choices)
    level = models.CharField(max_length=10, choices=Level.choices, blank=True, help_text=_("Of the computer."))
    points = models.PositiveSmallIntegerField(help_text=_("Points that win."))
    rules_version = models.PositiveSmallIntegerField()
    score_left = models.PositiveSmallIntegerField()
    score_right = models.PositiveSmallIntegerField()
    winner = models.SmallIntegerField(choices=Side.choices, null=True, blank=True)
    end_reason = models.CharField(max_length=10, choices=EndReason.choices)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField()
    duration_us = models.PositiveBigIntegerField(help_text=_("Match time, in microseconds."))
    rallies = models.JSONField(null=True, blank=True, help_text=_("Hits of each rally; none of matches from before."))
    epoch = models.PositiveIntegerField(
        default=0, db_default=0, help_text=_("Of the live worker's lease: the result of a newer owner counts.")
    )

    class Meta:
        verbose_name_plural = "matches"
        ordering = ["-finished_at", "-id"]
        indexes = [models.Index(fields=["-finished_at", "-id"], name="match_newest_first")]
        constraints = [
            models.UniqueConstraint(fields=["public_id"], name="match_public_id_unique"),
            models.CheckConstraint(condition=Q(mode__in=Mode.values), name="match_mode_known"),
            models.CheckConstraint(condition=Q(end_reason__in=EndReason.values), name="match_end_reason_known"),
            models.CheckConstraint(condition=Q(winner__in=SIDES) | Q(winner=None), name="match_winner_is_a_side"),
            models.CheckConstraint(condition=Q(finished_at__gte=F("started_at")), name="match_ends_after_start"),
        ]

    def __str__(self) -> str:
        return self.public_id

    def get_absolute_url(self) -> str:
        return reverse("match", args=[self.public_id])

    @property
    def score(self) -> tuple[int, int]:
        return self.score_left, self.score_right

    @property
    def duration_s(self) -> float:
        return self.duration_us / 1_000_000


class Seat(models.Model):
    """Who sat on a side: a user, a guest, the computer, or somebody whose account is gone. The name is as it was."""

    class Kind(models.TextChoices):
        HUMAN = "human", _("human")
        AI = "ai", _("computer")

    # No index of its own: both unique constraints begin with the match.
    match = models.ForeignKey(Match, on_delete=models.CASCADE, related_name="seats", db_index=False)
    side = models.SmallIntegerField(choices=Side.choices)
    kind = models.CharField(max_length=5, choices=Kind.choices)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="seats"
    )
    guest_id = models.CharField(max_length=32, blank=True, editable=False)
    name = models.CharField(max_length=64)

    class Meta:
        ordering = ["match", "side"]
        indexes = [models.Index(fields=["guest_id"], name="seat_guest", condition=~Q(guest_id=""))]
        constraints = [
            models.UniqueConstraint(fields=["match", "side"], name="seat_match_side_unique"),
            models.UniqueConstraint(fields=["match", "user"], name="seat_match_user_unique"),
            models.CheckConstraint(condition=Q(side__in=SIDES), name="seat_side_known"),
            models.CheckConstraint(condition=Q(user=None) | Q(guest_id=""), name="seat_user_or_guest"),
            models.CheckConstraint(condition=~Q(kind="ai") | Q(user=None, guest_id=""), name="seat_ai_is_nobodys"),
        ]

    def __str__(self) -> str:
        return self.name


class Tally(models.Model):
    """How many matches a user played and won, so that nobody counts seats to show a page. See matches.tally."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="tally"
    )
    played = models.PositiveIntegerField()
    won = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.won} of {self.played}"


class Timeline(models.Model):
    """Every event of a match, in the shape of docs/protocol.md, as gzipped JSON."""

    match = models.OneToOneField(Match, on_delete=models.CASCADE, primary_key=True, related_name="timeline")
    events_gzip = models.BinaryField()

    def __str__(self) -> str:
        return str(self.match)

    @property
    def events(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = json.loads(gzip.decompress(self.events_gzip))
        return events

    @staticmethod
    def pack(events: list[dict[str, Any]]) -> bytes:
        """The bytes of `events_gzip`; the same for the same events."""
        return gzip.compress(json.dumps(events, separators=(",", ":")).encode(), mtime=0)
