from django.urls import path

from lobby import api

urlpatterns = [
    path("api/lobby", api.lobby, name="api_lobby"),
]
