"""Write `rules<version>.json`: complete matches by the Python rules, which the JavaScript rules must repeat to the bit.

Run `python tests/app/golden/generate.py` after a wanted change of the rules, and look at what changed: a version that a
release has played never changes again.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "app"))

import engine  # noqa: E402 - a script finds the package by its own place
from engine.rules import VERSIONS  # noqa: E402

HERE = Path(__file__).parent
# Other numbers, so that no constant hides in either engine.
ODD = {
    "points": 5,
    "width": 1234.5,
    "height": 432.1,
    "ball_radius": 7.3,
    "paddle_half": 41.7,
    "paddle_speed": 777.7,
    "serve_speed": 543.2,
}


class Recorder:
    """Plays one match and writes down every call with its events, and the field at some moments after it."""

    def __init__(self, seed: int, rules: engine.Rules) -> None:
        self.random = random.Random(seed).random
        self.state = engine.initial(rules)
        self.steps: list[dict[str, Any]] = []

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.random()

    def call(self, name: str, *arguments: Any) -> None:
        """Call an engine function with the state and `arguments`, fold what it answers, record all."""
        events = getattr(engine, name)(self.state, *arguments)
        for event in events:
            self.state = engine.apply(self.state, event)
        crossing = engine.next_crossing(self.state)
        self.steps.append(
            {
                "call": [name, *arguments],
                "events": [engine.event_to_json(event) for event in events],
                "crossing": None if crossing is None else [crossing.t, crossing.side, crossing.y],
                "field": self.field(),
            }
        )

    def field(self) -> list[Any]:
        """`[t, ball, left, right]` at a random moment, which may lie before the serve or behind a plane."""
        t = self.state.t + int(self.between(0, 2_400_000))
        ball = self.state.ball
        return [
            t,
            None if ball is None else engine.ball_at(ball, t, self.state.rules),
            *(engine.paddle_at(paddle, t, self.state.rules) for paddle in self.state.paddles),
        ]

    def patient(self, hits: int) -> None:
        """A rally of at least so many hits, most of them near the middle of the paddle, some at its very edge."""
        direction = -1 if self.random() < 0.5 else 1
        self.call("serve", self.state.t + 1_200_000, direction, self.between(-0.6, 0.6))
        while crossing := engine.next_crossing(self.state):
            reach = self.state.rules.reach_at(self.state.rally_hits)
            edge = 0.999 * reach if self.random() < 0.15 else self.between(0.0, 0.3 * reach)
            aim = crossing.y + edge * (-1 if self.random() < 0.5 else 1)
            if self.state.rally_hits >= hits:
                aim = 0.0 if crossing.y > self.state.rules.height / 2 else self.state.rules.height
            start = max(self.state.t, self.state.paddles[crossing.side].t)
            self.call("move", start, crossing.side, aim, len(self.steps))
            self.call("move", start, 1 - crossing.side, self.state.rules.height / 2, len(self.steps))
            self.call("decide")

    def rally(self) -> None:
        """Serve, then move both paddles about, the defender mostly to the ball, until somebody scores."""
        steep = 1.2 * self.state.rules.slope_max
        direction = -1 if self.random() < 0.5 else 1
        if self.random() < 0.3:  # a player is gone in the countdown, and comes back
            self.call("serve", self.state.t + 1_200_000, direction, 0.0)
            self.call("pause", self.state.t + 500_000, "peer", 1)
            self.call("resume", self.state.t + 3_000_000)
        self.call("serve", self.state.t + 1_200_000, direction, self.between(-steep, steep))
        now = self.state.t
        while crossing := engine.next_crossing(self.state):
            left, right = self.state.paddles
            now = max(now, left.t, right.t)
            chance = self.random()
            if chance < 0.15:  # an input without a purpose, perhaps outside the field, perhaps a stop
                side = 0 if self.random() < 0.5 else 1
                target = None if self.random() < 0.3 else self.between(-200, 900)
                self.call("move", now + int(self.between(0, 200_000)), side, target, len(self.steps))
            elif chance < 0.25:  # an input from beyond the defender's crossing settles it
                self.call("move", max(now, crossing.t) + int(self.between(0, 2)), crossing.side, self.between(50, 550))
            else:
                aim, delay = crossing.y + self.between(-63, 63), self.between(0, 150_000)
                if self.random() < 0.1:  # the very edge of the paddle, reached in time
                    reach = (
                        self.state.rules.reach_at(self.state.rally_hits) + (-0.001, 0.0, 0.001)[int(self.between(0, 3))]
                    )
                    aim, delay = crossing.y + (reach if self.random() < 0.5 else -reach), 0
                start = min(now + int(delay), max(now, crossing.t - 1))
                self.call("move", start, crossing.side, aim, len(self.steps))
                if self.state.ball is not None:
                    self.call("decide")


def play(seed: int, rules: engine.Rules, *, forfeit: bool = False, patience: int = 0) -> dict[str, Any]:
    """One complete match. `patience`: hits of each rally."""
    recorder = Recorder(seed, rules)
    while recorder.state.phase != "over":
        if patience:
            recorder.patient(patience)
        else:
            recorder.rally()
        if forfeit and sum(recorder.state.score) == 2:
            recorder.call("end", recorder.state.t + 700_000, 0, "forfeit")
    return {
        "rules": engine.rules_to_json(rules),
        "steps": recorder.steps,
        "state": engine.state_to_json(recorder.state),
    }


def matches(version: int) -> list[dict[str, Any]]:
    """Matches of different lengths, one of other numbers, and one that does not end by score."""
    odd: engine.Rules
    if version == 1:
        odd = engine.Rules1(**ODD, speed_gain=1.07, speed_max=654.3, slope_max=0.77)
    else:
        odd = engine.Rules2(
            **ODD,
            speed_max=754.3,
            slope_max=1.17,
            paddle_half_min=23.4,
            shrink=3.3,
            shrink_after=1,
            speed_step=21.7,
            speed_base=676.5,
            smash=0.7,
        )
    played = [play(seed, engine.rules_of(version, points)) for seed, points in ((1, 3), (2, 5), (3, 7))]
    if version > 1:
        played.append(play(6, engine.rules_of(version, 2), patience=18))  # as short as a paddle gets
    return [*played, play(4, odd), play(5, engine.rules_of(version, 7), forfeit=True)]


def path(version: int) -> Path:
    return HERE / f"rules{version}.json"


def render(version: int) -> str:
    """The file's text, one step a line."""
    lines = []
    for match in matches(version):
        steps = ",\n".join(json.dumps(step, separators=(",", ":")) for step in match["steps"])
        head, tail = json.dumps(match["rules"]), json.dumps(match["state"])
        lines.append(f'{{"rules":{head},\n"steps":[\n{steps}\n],\n"state":{tail}}}')
    return "[\n" + ",\n".join(lines) + "\n]\n"


if __name__ == "__main__":
    for version in VERSIONS:
        path(version).write_text(render(version))
