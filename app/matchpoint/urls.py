from django.contrib import admin
from django.urls import include, path, re_path

from accounts.views import AddressConfirmView

urlpatterns = [
    path("", include("matches.urls")),
    path("", include("ratings.urls")),
    path("", include("privacy.urls")),
    path("me/", include("accounts.urls")),
    re_path(r"^accounts/confirm-email/(?P<key>[-:\w]+)/$", AddressConfirmView.as_view(), name="account_confirm_email"),
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include("ops.urls")),
    path("", include("status.urls")),
]

handler403 = "matchpoint.errors.forbidden"
handler404 = "matchpoint.errors.not_found"
handler500 = "matchpoint.errors.server_error"
