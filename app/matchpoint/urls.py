from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("matches.urls")),
    path("me/", include("accounts.urls")),
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("", include("ops.urls")),
    path("", include("status.urls")),
]

handler403 = "matchpoint.errors.forbidden"
handler404 = "matchpoint.errors.not_found"
handler500 = "matchpoint.errors.server_error"
