from django.contrib import admin

from matches.admin import ReadOnly
from moderation.models import Report


@admin.register(Report)
class ReportAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["at", "about", "kind", "by", "closed_at"]
    list_filter = ["kind", "closed_at"]
    list_select_related = ["about", "by"]
    search_fields = ["about__username", "about__public_id", "text"]
    show_full_result_count = False
