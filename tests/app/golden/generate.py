"""Write `matches.json`: complete matches played by the Python rules, which the JavaScript rules must repeat to the bit.

Run `python tests/app/golden/generate.py` after a wanted change of the rules, and look at what changed.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "app"))

import engine  # noqa: E402 - a script finds the package by its own place

PATH = Path(__file__).with_name("matches.json")


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
                    reach = self.state.rules.reach + (-0.001, 0.0, 0.001)[int(self.between(0, 3))]
                    aim, delay = crossing.y + (reach if self.random() < 0.5 else -reach), 0
                start = min(now + int(delay), max(now, crossing.t - 1))
                self.call("move", start, crossing.side, aim, len(self.steps))
                if self.state.ball is not None:
                    self.call("decide")


def play(seed: int, rules: engine.Rules, forfeit: bool = False) -> dict[str, Any]:
    """One complete match."""
    recorder = Recorder(seed, rules)
    while recorder.state.phase != "over":
        recorder.rally()
        if forfeit and sum(recorder.state.score) == 2:
            recorder.call("end", recorder.state.t + 700_000, 0, "forfeit")
    return {
        "rules": engine.rules_to_json(rules),
        "steps": recorder.steps,
        "state": engine.state_to_json(recorder.state),
    }


def render() -> str:
    """The file's text, one step a line."""
    matches = [play(seed, engine.Rules(points=points)) for seed, points in ((1, 3), (2, 5), (3, 7))]
    # Other numbers, so that no constant hides in either engine.
    odd = engine.Rules(
        points=5,
        width=1234.5,
        height=432.1,
        ball_radius=7.3,
        paddle_half=41.7,
        paddle_speed=777.7,
        serve_speed=543.2,
        speed_gain=1.07,
        speed_max=654.3,
        slope_max=0.77,
    )
    matches.append(play(4, odd))
    matches.append(play(5, engine.Rules(), forfeit=True))
    lines = []
    for match in matches:
        steps = ",\n".join(json.dumps(step, separators=(",", ":")) for step in match["steps"])
        head, tail = json.dumps(match["rules"]), json.dumps(match["state"])
        lines.append(f'{{"rules":{head},\n"steps":[\n{steps}\n],\n"state":{tail}}}')
    return "[\n" + ",\n".join(lines) + "\n]\n"


if __name__ == "__main__":
    PATH.write_text(render())
