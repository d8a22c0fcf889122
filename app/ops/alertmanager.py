"""Alertmanager's API, version 2: what is firing, what is silenced, and silencing. Any of the site's may answer."""

import json
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import quote, urlsplit

from django.conf import settings

TIMEOUT_S = 2.0
HEARTBEAT = "Watchdog"
"""The alert that always fires."""
FIRING, SILENCED, INHIBITED = "firing", "silenced", "inhibited"
_STATES = [FIRING, SILENCED, INHIBITED]
_SEVERITIES = ["page", "ticket"]


class Unavailable(Exception):
    """No Alertmanager answered; the sentences say why, one each."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class Refused(Exception):
    """Alertmanager answered, and does not do it."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on a label, as Alertmanager has it."""

    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True

    def __str__(self) -> str:
        operator = ("=" if self.is_equal else "!") + ("~" if self.is_regex else "" if self.is_equal else "=")
        return f"{self.name}{operator}{json.dumps(self.value, ensure_ascii=False)}"

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "value": self.value, "isRegex": self.is_regex, "isEqual": self.is_equal}


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that Prometheus reports now. `state` is firing, silenced or inhibited."""

    labels: dict[str, str]
    annotations: dict[str, str]
    state: str
    since: datetime
    silences: tuple[str, ...]
    source: str

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")

    @property
    def severity(self) -> str:
        return self.labels.get("severity", "")

    @property
    def order(self) -> tuple[Any, ...]:
        """What needs somebody first comes first, the newest of these at the top."""
        rank = _SEVERITIES.index(self.severity) if self.severity in _SEVERITIES else len(_SEVERITIES)
        return (_STATES.index(self.state), rank, -self.since.timestamp(), self.name)


@dataclass(frozen=True, slots=True)
class Silence:
    """A silence that holds now, or will."""

    id: str
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    author: str
    comment: str
    is_pending: bool


def _link(text: str) -> str:
    """The address, if it is one that a page may link to."""
    return text if text.startswith(("https://", "http://", "/")) else ""


def _alert(value: dict[str, Any]) -> Alert:
    status = value["status"]
    annotations = value.get("annotations", {})
    return Alert(
        labels=value["labels"],
        annotations={key: _link(text) if key.endswith("_url") else text for key, text in annotations.items()},
        state=SILENCED if status["silencedBy"] else INHIBITED if status["inhibitedBy"] else FIRING,
        since=datetime.fromisoformat(value["startsAt"]),
        silences=tuple(status["silencedBy"]),
        source=_link(value.get("generatorURL", "")),
    )


def _silence(value: dict[str, Any]) -> Silence:
    return Silence(
        id=value["id"],
        matchers=tuple(
            Matcher(each["name"], each["value"], each["isRegex"], each.get("isEqual", True))
            for each in value["matchers"]
        ),
        starts_at=datetime.fromisoformat(value["startsAt"]),
        ends_at=datetime.fromisoformat(value["endsAt"]),
        author=value["createdBy"],
        comment=value["comment"],
        is_pending=value["status"]["state"] == "pending",
    )


class Alertmanager:
    """The Alertmanagers of the site, as one: they tell each other what they know."""

    def __init__(self, urls: list[str]) -> None:
        self._urls = urls

    def alerts(self) -> list[Alert]:
        """All of them, the most pressing first. Raises Unavailable."""
        found = self._ask("GET", "/api/v2/alerts?active=true&silenced=true&inhibited=true&unprocessed=true")
        return sorted(map(_alert, found), key=lambda alert: alert.order)

    def silences(self) -> list[Silence]:
        """Those that hold now or will, the one that ends first at the top. Raises Unavailable."""
        found = [each for each in self._ask("GET", "/api/v2/silences") if each["status"]["state"] != "expired"]
        return sorted(map(_silence, found), key=lambda silence: silence.ends_at)

    def silence_create(
        self, *, matchers: list[Matcher], starts_at: datetime, ends_at: datetime, author: str, comment: str
    ) -> str:
        """The id of a new silence. Raises Unavailable or Refused."""
        silence = {
            "matchers": [matcher.as_json() for matcher in matchers],
            "startsAt": starts_at.isoformat(),
            "endsAt": ends_at.isoformat(),
            "createdBy": author,
            "comment": comment,
        }
        return str(self._ask("POST", "/api/v2/silences", silence)["silenceID"])

    def silence_expire(self, silence_id: str) -> None:
        """End a silence now. Raises Unavailable or Refused."""
        self._ask("DELETE", f"/api/v2/silence/{quote(silence_id, safe='')}")

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """The first answer. Asking another one after a failure may do a thing twice, which changes nothing more."""
        reasons = []
        for url in self._urls:
            try:
                status, text = _request(url, method, path, body)
                answer = json.loads(text or b"null")
            except (OSError, HTTPException, ValueError) as error:
                reasons.append(f"{urlsplit(url).netloc}: {type(error).__name__}: {error}")
                continue
            if status < 300:
                return answer
            if status < 500:
                raise Refused(answer if isinstance(answer, str) else str(answer))
            reasons.append(f"{urlsplit(url).netloc}: HTTP {status}")
        raise Unavailable(reasons or ["no Alertmanager is configured (MATCHPOINT_ALERTMANAGER_URLS)"])


def _request(url: str, method: str, path: str, body: Any) -> tuple[int, bytes]:
    parts = urlsplit(url)
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = connect(parts.netloc, timeout=TIMEOUT_S)
    try:
        sent = None if body is None else json.dumps(body).encode()
        connection.request(method, parts.path + path, body=sent, headers={"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def alertmanager() -> Alertmanager:
    return Alertmanager(settings.ALERTMANAGER_URLS)
