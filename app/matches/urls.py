from django.urls import path, register_converter
from django.urls.converters import StringConverter

from matches import api, views


class MatchIdConverter(StringConverter):
    regex = "[A-Za-z0-9]{1,32}"


register_converter(MatchIdConverter, "match_id")

urlpatterns = [
    path("", views.home, name="home"),
    path("m/<match_id:match_id>/", views.match, name="match"),
    path("m/<match_id:match_id>/replay/", views.replay, name="replay"),
    path("connection/", views.connection, name="connection"),
    path("matches/", views.history, name="history"),
    path("api/matches", api.matches, name="api_matches"),
    path("api/matches/<match_id:match_id>", api.match, name="api_match"),
    path("api/matches/<match_id:match_id>/replay", api.replay, name="api_replay"),
    path("api/matches/<match_id:match_id>/seat", api.seat, name="api_seat"),
]
