from django.contrib import admin

from matches.admin import ReadOnly
from privacy.models import Deletion


@admin.register(Deletion)
class DeletionAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["user", "requested_at", "due_at"]
    list_select_related = ["user"]
    search_fields = ["user__username"]
    show_full_result_count = False
