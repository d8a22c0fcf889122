"""A player at the keyboard of a real page: sees what the browser receives, presses keys, knows no other way in."""

import json
import time
from typing import Any

from playwright.sync_api import Page, WebSocket

from engine import apply, event_from_json, next_crossing, paddle_at, state_from_json

REACH_U = 12  # how far the paddle's centre may be from the ball's crossing before a key is pressed


class KeyboardPlayer:
    """Follows the match of a page and returns every ball."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.state = None
        self.side: int | None = None
        self.events: list[dict[str, Any]] = []
        self._epoch_s = 0.0  # match time 0 on this machine's clock
        self._held: str | None = None
        page.on("websocket", self._socket_opened)

    def _socket_opened(self, socket: WebSocket) -> None:
        if "/match/" in socket.url:  # and not of the lobby
            socket.on("framereceived", self._frame)

    def _frame(self, payload: str | bytes) -> None:
        message = json.loads(payload)
        if message["t"] == "welcome":
            self.side = message["side"]
            self._epoch_s = time.monotonic() - message["now"] / 1e6
            if message["state"] is not None:
                self.state = state_from_json(message["state"])
        elif message["t"] == "pong":
            self._epoch_s = time.monotonic() - message["s"] / 1e6
        elif message["t"] == "ev":
            for data in message["e"]:
                self.events.append(data)
                self.state = apply(self.state, event_from_json(data))

    def play(self, *others: "KeyboardPlayer", until: str, within_s: float) -> None:
        """Plays, as others do beside it, until an event of that kind, from now on, has arrived."""
        deadline = time.monotonic() + within_s
        start = len(self.events)
        while not any(event["k"] == until for event in self.events[start:]):
            assert time.monotonic() < deadline, f"no {until} within {within_s} s; state: {self.state}"
            for player in (self, *others):
                player._hold(player._key())
            self.page.wait_for_timeout(15)
        for player in (self, *others):
            player._hold(None)

    def _key(self) -> str | None:
        state = self.state
        crossing = next_crossing(state) if state is not None and state.ball is not None else None
        if crossing is None or crossing.side != self.side:
            return None
        now = max(0, int((time.monotonic() - self._epoch_s) * 1e6))
        paddle = state.paddles[self.side]
        away = crossing.y - paddle_at(paddle, max(now, paddle.t))
        if abs(away) <= REACH_U:
            return None
        return "ArrowDown" if away > 0 else "ArrowUp"

    def _hold(self, key: str | None) -> None:
        if key == self._held:
            return
        if self._held:
            self.page.keyboard.up(self._held)
        if key:
            self.page.keyboard.down(key)
        self._held = key
