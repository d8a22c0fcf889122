"""Ratings follow from matches: staff can look at them; `manage.py recompute_ratings` works them out again."""

from django.contrib import admin

from matches.admin import ReadOnly
from ratings.models import Rating, RatingChange


@admin.register(Rating)
class RatingAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["user", "rating", "deviation", "played", "rated_at"]
    list_select_related = ["user"]
    search_fields = ["user__username", "user__public_id"]
    show_full_result_count = False


@admin.register(RatingChange)
class RatingChangeAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["match", "side", "user", "rating_before", "rating_after", "deviation_after", "rated_at"]
    list_select_related = ["match", "user"]
    search_fields = ["match__public_id", "user__username"]
    show_full_result_count = False
