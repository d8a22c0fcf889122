from allauth.account.decorators import reauthentication_required
from allauth.account.views import password_set
from django.conf import settings
from django.contrib import admin
from django.urls import include, path, re_path

from accounts.views import AddressConfirmView

urlpatterns = [
    path("", include("matches.urls")),
    path("", include("lobby.urls")),
    path("", include("ratings.urls")),
    path("", include("privacy.urls")),
    path("me/", include("accounts.urls")),
    re_path(r"^accounts/confirm-email/(?P<key>[-:\w]+)/$", AddressConfirmView.as_view(), name="account_confirm_email"),
    path("accounts/password/set/", reauthentication_required(password_set), name="account_set_password"),
    path("accounts/", include("allauth.account.urls")),
    path("accounts/2fa/", include("allauth.mfa.urls")),
    path("accounts/sessions/", include("allauth.usersessions.urls")),
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include("ops.urls")),
    path("", include("status.urls")),
]

if settings.OPENID:
    from allauth.socialaccount.providers.openid_connect import views as openid_views

    from accounts.openid_adapter import guarded

    urlpatterns += [
        path("accounts/openid/<slug:provider_id>/", guarded(openid_views.login), name="openid_connect_login"),
        path(
            "accounts/openid/<slug:provider_id>/back/", guarded(openid_views.callback), name="openid_connect_callback"
        ),
        path("accounts/connections/", include("allauth.socialaccount.urls")),
    ]

handler403 = "matchpoint.errors.forbidden"
handler404 = "matchpoint.errors.not_found"
handler500 = "matchpoint.errors.server_error"
