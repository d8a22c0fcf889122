"""Everything that the database holds about somebody, as one ZIP archive.

It walks the models: whatever has a relation to the user is in, so that a new model needs no entry here to be exported.
"""

import json
import zipfile
from typing import IO, Any, Final

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import ForeignObjectRel, Model, QuerySet

from accounts.models import User
from accounts.players import Player
from matches.models import Seat, Timeline
from moderation.models import Report

CHUNK: Final = 200  # rows in memory at a time
# What opens the account is not told, not even to its owner: a borrowed session would take it along.
SECRET: Final = {
    "accounts.User": {"password"},
    "mfa.Authenticator": {"data"},
    "moderation.Block.about": {"by"},
    "moderation.Report.about": {"by", "guest_id", "text"},  # who said what about somebody is theirs
    "moderation.Report.by": {"about_guest"},  # the number of another guest
    "usersessions.UserSession": {"session_key"},
}

ABOUT = """What Matchpoint's database holds about {name}.

account.json        the account itself
<app>.<Model>.json  rows that belong to it: matches.Seat are the matches played, each with its result;
                    <app>.<Model>.<field>.json where they do in several ways: moderation.Report.by are reports written
timelines/<match>.json.gz  every event of those matches, docs/protocol.md of Matchpoint describes them

Left out are what opens the account: the password's hash, the secrets of second factors, and the keys of sessions.
Of reports, who wrote them and what about somebody stays with those who run the site.
"""


def relations() -> list[ForeignObjectRel]:
    """Every way from a user to rows of other models."""
    return [field for field in User._meta.get_fields() if isinstance(field, ForeignObjectRel)]


def write_archive(target: IO[bytes], *, player: Player) -> None:
    """Write the ZIP about `player`, a user or a guest, to `target`."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", ABOUT.format(name=player.name))
        if player.user is None:
            seats = Seat.objects.filter(user=None, guest_id=player.guest_id)
            archive.writestr("guest.json", _json({"id": player.guest_id, "name": player.name}))
            _write(archive, seats, name=Seat._meta.label)
            reports = Report.objects.filter(guest_id=player.guest_id)
            _write(archive, reports, name=file_name(User._meta.get_field("reports_made")))
            about = Report.objects.filter(about_guest=player.guest_id)
            _write(archive, about, name=file_name(User._meta.get_field("reports")))
        else:
            seats = Seat.objects.filter(user=player.user)
            archive.writestr("account.json", _json(row(player.user)))
            for relation in relations():
                rows = relation.related_model._default_manager.filter(**{relation.field.name: player.user})
                _write(archive, rows, name=file_name(relation))
        timelines = Timeline.objects.filter(match__seats__in=seats).select_related("match").order_by("pk")
        for timeline in timelines.iterator(CHUNK):
            entry = zipfile.ZipInfo(f"timelines/{timeline.match.public_id}.json.gz")
            archive.writestr(entry, bytes(timeline.events_gzip))  # stored as it is: it is compressed already


def file_name(relation: ForeignObjectRel) -> str:
    """Model, and the field as well where it has more than one way to a user."""
    label: str = relation.related_model._meta.label
    others = [other for other in relations() if other.related_model is relation.related_model]
    return f"{label}.{relation.field.name}" if len(others) > 1 else label


def row(instance: Model, *, name: str = "") -> dict[str, Any]:
    """The fields of a row, and the match of what has one. `name` is that of its file, if it is not the model's."""
    hidden = SECRET.get(name or instance._meta.label, set())
    fields = {
        field.attname: field.value_from_object(instance)
        for field in instance._meta.concrete_fields
        if field.name not in hidden
    }
    if isinstance(instance, Seat):
        fields["match"] = row(instance.match)
    if isinstance(instance, User):
        for relation in User._meta.many_to_many:
            fields[relation.name] = [str(one) for one in getattr(instance, relation.name).all()]
    return fields


def _write(archive: zipfile.ZipFile, rows: QuerySet[Any], *, name: str) -> None:
    """One file `name` of all `rows`, a JSON list."""
    with archive.open(f"{name}.json", "w", force_zip64=True) as file:
        file.write(b"[")
        if rows.model is Seat:
            rows = rows.select_related("match")
        for number, instance in enumerate(rows.order_by("pk").iterator(CHUNK)):
            file.write(b",\n" if number else b"\n")
            file.write(_json(row(instance, name=name)).encode())
        file.write(b"\n]\n")


def _json(value: Any) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False)
