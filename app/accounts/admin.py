from collections.abc import Callable
from typing import Any

from allauth.account.admin import EmailAddressAdmin as AllauthEmailAddressAdmin
from allauth.account.internal.flows.reauthentication import raise_if_reauthentication_required
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from matches.admin import ReadOnly
from privacy.services import account_delete


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

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What nobody may delete by itself goes with its account all the same."""
        objects, counts, needed, protected = super().get_deleted_objects(objs, request)
        kept = {
            model._meta.verbose_name for model, page in self.admin_site._registry.items() if isinstance(page, ReadOnly)
        }
        return objects, counts, needed - kept, protected

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        account_delete(user=obj)

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for user in queryset:
            account_delete(user=user)


admin.site.unregister([EmailAddress, Group])


@admin.register(EmailAddress)
class EmailAddressAdmin(AccountAdmin, AllauthEmailAddressAdmin):
    pass


@admin.register(Group)
class GroupAdmin(AccountAdmin, DjangoGroupAdmin):
    pass


admin.site.unregister([SocialApp, SocialToken, SocialAccount])  # ways in are settings


@admin.register(SocialAccount)
class SocialAccountAdmin(AccountAdmin):
    """Accounts elsewhere: deleting one closes that way into the account."""

    list_display = ["user", "uid", "date_joined", "last_login"]
    list_select_related = ["user"]
    search_fields = ["uid", "user__username", "user__email"]
    fields = ["user", "uid", "date_joined", "last_login"]
    readonly_fields = ["user", "uid", "date_joined", "last_login"]
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


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
