from django.urls import path

from status import views

urlpatterns = [
    path("status", views.page, name="status"),
    path("status.json", views.machine, name="status_json"),
]
