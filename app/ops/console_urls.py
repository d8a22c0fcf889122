from django.urls import path, re_path

from moderation import views as moderation_views
from ops import console_views, oncall_views, runbook_views

app_name = "ops"

urlpatterns = [
    path("", console_views.index, name="index"),
    path("auth", console_views.auth, name="auth"),
    path("enter", console_views.enter, name="enter"),
    path("oncall/", oncall_views.oncall, name="oncall"),
    path("oncall/silence/", oncall_views.silence_new, name="silence_new"),
    path("oncall/silence/<uuid:silence_id>/expire/", oncall_views.silence_expire, name="silence_expire"),
    path("players/", moderation_views.players, name="players"),
    path("players/guest/<slug:guest_id>/", moderation_views.guest, name="guest"),
    path("players/<player_id:public_id>/", moderation_views.player, name="player"),
    path("runbooks/", runbook_views.runbooks, name="runbooks"),
    path("runbooks/<str:name>", runbook_views.runbook, name="runbook"),
    re_path(r"^(?P<name>grafana|prometheus|alertmanager)(?:/(?P<rest>.*))?$", console_views.console, name="console"),
]
