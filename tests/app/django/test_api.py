import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from msgspec import structs
from redis.exceptions import ConnectionError as ValkeyConnectionError

import engine
from accounts.models import User
from live import directory
from live.events import Events
from live.protocol.canary import permission
from live.protocol.tokens import seat_token_read
from live.records import SCHEMA, Checkpoint, FinishedMatch, MatchSpec
from matches.services import match_finish

Record = Callable[..., FinishedMatch]

pytestmark = pytest.mark.django_db


def post(client: Client, path: str, body: Any = None, **extra: Any) -> Any:
    return client.post(path, json.dumps(body or {}), content_type="application/json", **extra)


def create(client: Client, mode: str = "ai") -> str:
    response = post(client, "/api/matches", {"mode": mode, "level": "easy", "points": 3})
    assert response.status_code == 201, response.content
    return str(response.json()["id"])


def test_a_guest_creates_a_match_and_gets_the_left_seat(client: Client, worker: str) -> None:
    response = post(client, "/api/matches", {"mode": "ai", "level": "easy", "points": 3})
    match_id = response.json()["id"]
    assert response.status_code == 201
    assert response.json() == {"id": match_id, "url": f"/m/{match_id}/"}

    seat = post(client, f"/api/matches/{match_id}/seat").json()
    assert seat["url"] == f"/ws/{worker}/match/{match_id}"
    assert (seat["side"], seat["worker"]) == (0, worker)
    claim = seat_token_read(seat["token"])
    assert (claim.match_id, claim.side, claim.worker) == (match_id, 0, worker)
    assert claim.identity.startswith("g:")


def test_who_signs_in_during_a_match_keeps_the_seat(client: Client, worker: str) -> None:
    match_id = create(client)
    assert post(client, f"/api/matches/{match_id}/seat").json()["side"] == 0

    client.force_login(User.objects.create_user("ada", password="correct horse 42"))

    seat = post(client, f"/api/matches/{match_id}/seat").json()
    assert seat["side"] == 0
    assert seat_token_read(seat["token"]).identity.startswith("g:")
    assert client.get(f"/api/matches/{match_id}").json()["you"] == 0
    other = create(client)
    assert seat_token_read(post(client, f"/api/matches/{other}/seat").json()["token"]).identity.startswith("u:")


def test_the_canary_plays_a_point_that_players_cannot_ask_for(client: Client, worker: str) -> None:
    response = post(client, "/api/matches", {"canary": permission("test-only")})
    assert response.status_code == 201, response.content
    match_id = response.json()["id"]

    async def kept() -> MatchSpec | None:
        return await directory.get_directory().matches.get(match_id)

    spec = asyncio.run(kept())
    assert spec is not None
    assert (spec.is_canary, spec.counted_as, spec.points, spec.free_side()) == (True, "canary", 1, 1)
    assert client.get(f"/m/{match_id}/").status_code == 200
    assert post(client, f"/api/matches/{match_id}/seat").json()["side"] == 0


@pytest.mark.parametrize(
    "given",
    [
        permission("another key"), permission("test-only", now=time.time() - 120), permission("test-only", now=9e9),
        "", "1:", f"{time.time():.0f}:é", "²:x", None, 1, ["1:2"], {},
    ],
)  # fmt: skip
def test_nobody_else_is_the_canary(client: Client, worker: str, given: Any) -> None:
    response = post(client, "/api/matches", {"canary": given, "mode": "friend", "points": 3})
    assert (response.status_code, response.json()["error"]) == (400, "bad-request")


def test_asking_again_gives_the_same_seat(client: Client, worker: str) -> None:
    match_id = create(client)
    seats = [post(client, f"/api/matches/{match_id}/seat").json() for _ in range(2)]
    assert seats[0]["side"] == seats[1]["side"] == 0
    assert seat_token_read(seats[0]["token"]).identity == seat_token_read(seats[1]["token"]).identity


def test_the_friend_gets_the_free_seat_and_the_third_one_watches(client: Client, worker: str, user: Any) -> None:
    match_id = create(client, "friend")
    assert client.get(f"/api/matches/{match_id}").json()["status"] == "waiting"
    friend = Client()
    friend.force_login(user)
    seat = post(friend, f"/api/matches/{match_id}/seat").json()
    assert seat["side"] == 1
    assert seat_token_read(seat["token"]).identity == f"u:{user.pk}"
    assert post(Client(), f"/api/matches/{match_id}/seat").json()["side"] is None

    summary = friend.get(f"/api/matches/{match_id}").json()
    assert (summary["status"], summary["you"], summary["score"]) == ("live", 1, [0, 0])
    assert summary["players"][1] == {"side": 1, "kind": "human", "name": "ada"}


def test_a_live_match_tells_no_identities(client: Client) -> None:
    text = client.get(f"/api/matches/{create(client)}").content.decode()
    assert "identity" not in text
    assert "g:" not in text


def test_a_finished_match_comes_from_the_database(client: Client, record: Record, guest_id: str) -> None:
    match_finish(record=record("abc", left=f"g:{guest_id}"))
    summary = client.get("/api/matches/abc").json()
    assert (summary["status"], summary["score"], summary["winner"], summary["you"]) == ("finished", [7, 3], 0, 0)
    assert summary["players"][1] == {"side": 1, "kind": "ai", "name": "Right Player"}
    assert Client().get("/api/matches/abc").json()["you"] is None


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/api/matches", {"mode": "chess"}, 400, "bad-request"),
        ("/api/matches", {"mode": "ai", "padding": "x" * 2000}, 400, "bad-request"),
        ("/api/matches/unknown/seat", {}, 404, "no-such-match"),
        ("/api/nothing/here", {}, 404, "not-found"),
    ],
)
def test_errors_have_a_code_and_a_sentence(client: Client, path: str, body: Any, status: int, code: str) -> None:
    response = post(client, path, body)
    assert response.status_code == status
    assert response.json()["error"] == code
    assert response.json()["detail"].endswith(".")


def test_a_body_that_is_not_json_is_refused(client: Client) -> None:
    for body in (b"{", b"\xff", b"[" * 1024):
        response = client.post("/api/matches", body, content_type="application/json")
        assert response.status_code == 400, body


def test_other_methods_are_refused(client: Client) -> None:
    response = client.get("/api/matches")
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"


def test_an_unknown_match_is_not_found(client: Client) -> None:
    response = client.get("/api/matches/unknown")
    assert response.status_code == 404
    assert response.json()["error"] == "no-such-match"


def test_a_finished_match_has_no_seats(client: Client, record: Record) -> None:
    match_finish(record=record("abc"))
    response = post(client, "/api/matches/abc/seat")
    assert response.status_code == 409
    assert response.json()["error"] == "match-over"


def test_without_a_worker_the_answer_is_to_come_back(client: Client) -> None:
    response = post(client, f"/api/matches/{create(client)}/seat")
    assert response.status_code == 503
    assert response.json()["error"] == "no-worker"
    assert int(response.headers["Retry-After"]) > 0


def test_a_full_site_says_so(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*args: Any, **kwargs: Any) -> None:
        raise directory.SiteFull

    monkeypatch.setattr(directory.Matches, "seat", full)
    response = post(client, f"/api/matches/{create(client)}/seat")
    assert response.status_code == 503
    assert response.json() == {"error": "full", "detail": "All courts are taken; try again in a minute."}
    assert int(response.headers["Retry-After"]) > 0


def test_without_valkey_the_answer_is_to_come_back(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*args: Any, **kwargs: Any) -> None:
        raise ValkeyConnectionError("connection refused")

    monkeypatch.setattr(directory.Matches, "create", fail)
    response = post(client, "/api/matches", {"mode": "ai"})
    assert response.status_code == 503
    assert response.json()["error"] == "unavailable"


def test_posts_need_the_csrf_token() -> None:
    client = Client(enforce_csrf_checks=True)
    refused = post(client, "/api/matches", {"mode": "ai"})
    assert refused.status_code == 403
    assert refused.json()["error"] == "csrf"

    client.get("/accounts/login/")
    token = client.cookies["csrftoken"].value
    assert post(client, "/api/matches", {"mode": "ai"}, headers={"x-csrftoken": token}).status_code == 201
    foreign = {"x-csrftoken": token, "origin": "https://evil.example.com"}
    assert post(client, "/api/matches", {"mode": "ai"}, headers=foreign).status_code == 403


@pytest.fixture
def _one_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits' clock stands, so that no window ends while a test counts."""
    now = time.time()
    monkeypatch.setattr("matches.limits.time", SimpleNamespace(time=lambda: now))


@pytest.mark.usefixtures("_one_window")
def test_one_identity_cannot_flood_the_directory(client: Client) -> None:
    for _ in range(10):
        create(client)
    response = post(client, "/api/matches", {"mode": "ai"})
    assert response.status_code == 429
    assert response.json()["error"] == "too-many"
    assert 0 < int(response.headers["Retry-After"]) <= 60
    create(Client())  # another guest at the same address still may


@pytest.mark.usefixtures("_one_window")
def test_one_address_cannot_flood_by_changing_guests() -> None:
    statuses = [post(Client(REMOTE_ADDR="198.51.100.7"), "/api/matches", {"mode": "ai"}).status_code for _ in range(61)]
    assert statuses[-1] == 429
    assert statuses[:60] == [201] * 60
    assert post(Client(REMOTE_ADDR="198.51.100.8"), "/api/matches", {"mode": "ai"}).status_code == 201


async def test_the_api_runs_on_the_event_loop_too(async_client: Any) -> None:
    response = await async_client.post("/api/matches", '{"mode": "ai"}', content_type="application/json")
    assert response.status_code == 201
    spec = await directory.get_directory().matches.get(response.json()["id"])
    assert spec is not None


def directory_does(call: Callable[[directory.Directory], Any]) -> Any:
    async def run() -> Any:
        return await call(directory.get_directory())

    return asyncio.run(run())


def test_a_match_of_a_newer_release_is_for_another_worker_to_answer(client: Client, worker: str) -> None:
    match_id = create(client)
    key = f"mp:match:{match_id}"

    async def renew(stored: directory.Directory) -> None:
        spec = json.loads(await stored._client.get(key))
        await stored._client.set(key, json.dumps(spec | {"schema": SCHEMA + 1}))

    directory_does(renew)
    response = post(client, f"/api/matches/{match_id}/seat")
    assert (response.status_code, response.json()["error"]) == (503, "unavailable")
    client.raise_request_exception = False
    for path in (f"/api/matches/{match_id}", f"/m/{match_id}/"):
        assert client.get(path).status_code == 503


def test_a_match_whose_result_waits_for_the_database_is_over_and_to_be_found(client: Client, worker: str) -> None:
    match_id = create(client)
    post(client, f"/api/matches/{match_id}/seat")
    state = engine.state_to_json(
        structs.replace(engine.initial(), version=9, phase="over", score=(3, 1), winner=0, reason="score")
    )
    moment = datetime(2026, 3, 1, 20, tzinfo=UTC)
    checkpoint = Checkpoint(state, Events.of([]), now=5, saved_at=moment, started_at=moment, away=(0, 0))

    async def wait(stored: directory.Directory) -> None:
        claim = await stored.leases.claim(match_id, worker=worker)
        await stored.leases.checkpoint(match_id, worker=worker, epoch=claim.epoch, checkpoint=checkpoint)
        await stored.results.wait(match_id, worker=worker, epoch=claim.epoch)

    directory_does(wait)
    summary = client.get(f"/api/matches/{match_id}").json()
    assert {name: summary[name] for name in ("status", "score", "winner", "reason", "you")} == {
        "status": "over", "score": [3, 1], "winner": 0, "reason": "score", "you": 0,
    }  # fmt: skip
    assert client.get(f"/m/{match_id}/").status_code == 200
    assert post(client, f"/api/matches/{match_id}/seat").status_code == 409

    directory_does(lambda stored: stored.results.recorded(match_id))
    assert client.get(f"/api/matches/{match_id}").status_code == 404, "now the database would have it"
