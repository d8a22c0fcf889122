from django.urls import path

from privacy import views

urlpatterns = [
    path("privacy/", views.privacy, name="privacy"),
    path("privacy/export/", views.export, name="export"),
    path("privacy/delete/", views.delete, name="delete_account"),
    path("privacy/keep/", views.keep, name="keep_account"),
    path("privacy/forget/", views.forget_guest, name="forget_guest"),
    path("imprint/", views.imprint, name="imprint"),
    path("robots.txt", views.robots, name="robots"),
    path("manifest.webmanifest", views.manifest, name="manifest"),
    path(".well-known/security.txt", views.security, name="security"),
    path(".well-known/change-password", views.change_password, name="change_password"),
]
