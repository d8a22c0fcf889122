from django.urls import path, register_converter
from django.urls.converters import StringConverter

from moderation import views as moderation_views
from ratings import views


class PlayerIdConverter(StringConverter):
    regex = "[a-z0-9]{12}"


register_converter(PlayerIdConverter, "player_id")

urlpatterns = [
    path("leaderboard/", views.leaderboard, name="leaderboard"),
    path("u/<player_id:public_id>/", views.profile, name="player"),
    path("m/<match_id:match_id>/report/", moderation_views.report_opponent, name="report_opponent"),
    path("u/<player_id:public_id>/block/", moderation_views.block, name="block"),
    path("u/<player_id:public_id>/report/", moderation_views.report, name="report"),
]
