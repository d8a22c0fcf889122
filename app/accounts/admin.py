from collections.abc import Callable
from typing import Any

from allauth.account.admin import EmailAddressAdmin as AllauthEmailAddressAdmin
from allauth.account.internal.flows.reauthentication import raise_if_reauthentication_required
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _

from accounts.models import User


def _proved(view: Callable[..., Any]) -> Callable[..., Any]:
    """The view, which changes something only for who proved the second factor lately: a borrowed session does not."""

    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if request.method not in ("GET", "HEAD"):
            raise_if_reauthentication_required(request, app="allauth.account")
        return view(request, *args, **kwargs)

    return guarded


@method_decorator(_proved, "changelist_view")
@method_decorator(_proved, "changeform_view")
@method_decorator(_proved, "delete_view")
class AccountAdmin(admin.ModelAdmin):
    """Pages on what opens accounts."""


@admin.register(User)
@method_decorator(_proved, "user_change_password")
class UserAdmin(AccountAdmin, DjangoUserAdmin):
    list_display = ["username", "display_name", "email", "is_staff", "is_active", "date_joined", "last_login"]
    list_filter = ["is_staff", "is_superuser", "is_active", "date_joined"]
    search_fields = ["username", "display_name", "email", "public_id"]
    readonly_fields = ["public_id", "date_joined", "last_login"]
    show_full_result_count = False
    fieldsets = [
        (None, {"fields": ["username", "display_name", "public_id", "password"]}),
        (_("Contact"), {"fields": ["email"]}),
        (_("Permissions"), {"fields": ["is_active", "is_staff", "is_superuser", "groups", "user_permissions"]}),
        (_("Dates"), {"fields": ["date_joined", "last_login"]}),
    ]


admin.site.unregister([EmailAddress, Group])


@admin.register(EmailAddress)
class EmailAddressAdmin(AccountAdmin, AllauthEmailAddressAdmin):
    pass


@admin.register(Group)
class GroupAdmin(AccountAdmin, DjangoGroupAdmin):
    pass


admin.site.unregister(Authenticator)  # allauth's own page shows the secret


@admin.register(Authenticator)
class AuthenticatorAdmin(AccountAdmin):
    """Second factors: deleting one lets a user who lost the phone set up another."""

    list_display = ["user", "type", "created_at", "last_used_at"]
    list_filter = ["type", "created_at"]
    list_select_related = ["user"]
    search_fields = ["user__username", "user__email"]
    fields = ["user", "type", "created_at", "last_used_at"]
    readonly_fields = ["created_at", "last_used_at"]
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
