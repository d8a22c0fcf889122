from django.contrib import admin

from audit.models import Entry
from matches.admin import ReadOnly


@admin.register(Entry)
class EntryAdmin(ReadOnly, admin.ModelAdmin):
    """The audit trail, to be searched by account, address and what was done."""

    list_display = ["at", "kind", "name", "address", "what"]
    list_filter = ["kind", "on_staff", "at"]
    search_fields = ["name", "=address", "what"]
    date_hierarchy = "at"
    show_full_result_count = False
