"""Results are facts: staff can look at them, nobody rewrites them."""

import json
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from matches.models import Match, Seat, Timeline


class ReadOnly:
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class SeatInline(ReadOnly, admin.TabularInline):
    model = Seat
    fields = ["side", "kind", "name", "user", "guest_id"]
    readonly_fields = ["guest_id"]
    extra = 0


@admin.register(Match)
class MatchAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["public_id", "mode", "level", "players", "result", "winner", "end_reason", "finished_at"]
    list_filter = ["mode", "level", "end_reason", "finished_at"]
    search_fields = ["public_id", "seats__name", "seats__user__username"]
    date_hierarchy = "finished_at"
    inlines = [SeatInline]
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("seats")

    @admin.display(description=_("players"))
    def players(self, match: Match) -> str:
        return " - ".join(seat.name for seat in match.seats.all())

    @admin.display(description=_("score"))
    def result(self, match: Match) -> str:
        return f"{match.score_left}:{match.score_right}"


@admin.register(Seat)
class SeatAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["match", "side", "kind", "name", "user"]
    list_filter = ["kind", "side"]
    list_select_related = ["match", "user"]
    search_fields = ["name", "user__username", "match__public_id"]
    show_full_result_count = False


@admin.register(Timeline)
class TimelineAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["match", "size_bytes"]
    list_select_related = ["match"]
    search_fields = ["match__public_id"]
    fields = ["match", "event_count", "size_bytes", "listing"]
    readonly_fields = ["event_count", "size_bytes", "listing"]
    show_full_result_count = False

    @admin.display(description=_("size (bytes, compressed)"))
    def size_bytes(self, timeline: Timeline) -> int:
        return len(timeline.events_gzip)

    @admin.display(description=_("number of events"))
    def event_count(self, timeline: Timeline) -> int:
        return len(timeline.events)

    @admin.display(description=_("events"))
    def listing(self, timeline: Timeline) -> str:
        return "\n".join(json.dumps(event) for event in timeline.events)
