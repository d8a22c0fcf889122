"""A bot that plays a whole match through the public address of a site, as players do: page, seat, socket, rules.

`python -m live.bot --url https://pong.example.com` ends with 0 when a match was played by the rules, to its end, and
recorded; else with 1 and a sentence that says what failed. It is the last word of a deploy.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from random import SystemRandom
from statistics import median
from typing import Any, Final, get_args

import engine
from engine.ai import Level
from live.bot.player import Player, play_together
from live.bot.site import Failure, Site
from live.protocol.canary import permission
from live.records import POINTS_MAX, POINTS_MIN

RECORDED_S: Final = 10.0  # the result of a match is in the database soon after its end
POLL_S: Final = 0.25


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m live.bot", description=__doc__)
    parser.add_argument("--url", required=True, help="the site, e.g. https://pong.example.com")
    parser.add_argument("--mode", choices=("ai", "pair"), default="ai", help="one bot against the site's, or two bots")
    parser.add_argument("--level", choices=get_args(Level), default="easy", help="of the site's player")
    parser.add_argument(
        "--points", type=int, default=POINTS_MIN, help=f"that win the match ({POINTS_MIN} to {POINTS_MAX})"
    )
    parser.add_argument("--rally", type=int, default=3, help="hits after which one bot gives way; 0: play to win")
    parser.add_argument(
        "--canary",
        action="store_true",
        help="a point of two bots that counts for nobody; needs MATCHPOINT_SECRET_KEY",
    )
    parser.add_argument("--ca", metavar="FILE", help="trust only the CAs of this file")
    parser.add_argument("--connect-to", metavar="ADDRESS", help="dial this address instead of the site's own")
    parser.add_argument("--timeout", type=float, default=180.0, metavar="S", help="for everything together")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    if options.canary:
        options.mode, options.rally = "pair", 1
    return options


async def match_play(options: argparse.Namespace) -> dict[str, Any]:
    """Play one match; what came of it. Failure."""
    visitors = [
        Site(options.url, ca=options.ca, address=options.connect_to) for _ in range(2 if options.mode == "pair" else 1)
    ]
    host = visitors[0]
    await asyncio.to_thread(host.open)
    wish: dict[str, Any] = {"mode": "friend"} if options.mode == "pair" else {"mode": "ai", "level": options.level}
    wish = _permission() if options.canary else wish | {"points": options.points}
    match_id, page = await asyncio.to_thread(host.match_create, **wish)
    for friend in visitors[1:]:
        await asyncio.to_thread(friend.open, page)
    rng = SystemRandom().random
    players = [Player(site, match_id, level="hard", rng=rng) for site in visitors]
    players[-1] = Player(visitors[-1], match_id, level="hard", rng=rng, yields_after=options.rally)
    began = time.monotonic()
    await _together(match_id, players, options.timeout)
    duration_s = time.monotonic() - began
    state = _agreed(players)
    await _recorded(host, match_id, state)
    return _summary(match_id, options.mode, state, players, duration_s)


def _permission() -> dict[str, Any]:
    key = os.environ.get("MATCHPOINT_SECRET_KEY")
    if not key:
        raise Failure("a canary needs the site's key in MATCHPOINT_SECRET_KEY")
    return {"canary": permission(key)}


async def _together(match_id: str, players: list[Player], timeout_s: float) -> None:
    """Let all of them play to the end, within a time."""
    try:
        async with asyncio.timeout(timeout_s):
            await play_together(players)
    except TimeoutError as error:
        stands = players[0].describe()
        raise Failure(f"match {match_id} did not end within {timeout_s:.0f} s: {stands}") from error
    except Failure as error:
        raise Failure(f"match {match_id}: {error}") from error


def _agreed(players: list[Player]) -> engine.MatchState:
    """The final state, which all players must share, and which must be a result and not a walk-over."""
    state, *others = [player.state for player in players]
    if state is None or any(other != state for other in others):
        raise Failure(f"the players saw different matches: {[player.describe() for player in players]}")
    if state.reason != "score":
        raise Failure(f"the match ended by {state.reason}, not by score ({players[0].describe()})")
    return state


async def _recorded(site: Site, match_id: str, state: engine.MatchState) -> None:
    """Wait until the site has the result for good."""
    deadline = time.monotonic() + RECORDED_S
    while (record := await asyncio.to_thread(site.match_get, match_id))["status"] != "finished":
        if time.monotonic() > deadline:
            raise Failure(
                f"match {match_id} is over, but after {RECORDED_S:.0f} s its result is not recorded: {record}"
            )
        await asyncio.sleep(POLL_S)
    if (record["score"], record["winner"]) != (list(state.score), state.winner):
        raise Failure(f"match {match_id} ended {state.score}, but {record['score']} was recorded")


def _summary(
    match_id: str, mode: str, state: engine.MatchState, players: list[Player], duration_s: float
) -> dict[str, Any]:
    round_trips = [ms for player in players for ms in player.clock.round_trips_ms]
    answers = sorted(ms for player in players for ms in player.acknowledged_ms)
    if not round_trips or not answers:
        raise Failure(f"match {match_id} ended, but the server answered to no ping or to no input")
    return {
        "match": match_id,
        "mode": mode,
        "score": list(state.score),
        "winner": state.winner,
        "reason": state.reason,
        "rallies": sum(state.score),
        "reconnects": sum(player.reconnects for player in players),
        "moves": sum(player.moves for player in players),
        "rtt_ms_median": round(median(round_trips), 1),
        "input_ack_ms": {"p50": round(median(answers), 1), "p99": round(answers[len(answers) * 99 // 100], 1)},
        "duration_s": round(duration_s, 1),
    }


def main() -> int:
    options = arguments()
    try:
        summary = asyncio.run(match_play(options))
    except Failure as failure:
        if options.json:
            print(json.dumps({"error": str(failure)}))
        print(f"bot: {failure}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(summary))
    else:
        left, right = summary["score"]
        print(
            f"Match {summary['match']}: {left}:{right} in {summary['duration_s']} s, round trip"
            f" {summary['rtt_ms_median']} ms, inputs answered in {summary['input_ack_ms']['p50']} ms"
            f" (p99 {summary['input_ack_ms']['p99']} ms), {summary['reconnects']} reconnects"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
