"""Named timers of one owner, all with the same guard around their callbacks."""

from collections.abc import Callable

from live.clock import Clock, Timer


class Timers:
    """Timers on `clock`. One that is set again under its name is replaced. `crashed` hears of callbacks that raise."""

    def __init__(self, clock: Clock, crashed: Callable[[Exception], None]) -> None:
        self._clock = clock
        self._crashed = crashed
        self._timers: dict[str, Timer] = {}

    def set(self, name: str, when: int, callback: Callable[[], object]) -> None:
        """Call back at `when` (µs on the clock)."""
        self.cancel(name)

        def guarded() -> None:
            self._timers.pop(name, None)
            try:
                callback()
            except Exception as error:
                self._crashed(error)

        self._timers[name] = self._clock.call_at(when, guarded)

    def cancel(self, *names: str) -> None:
        for name in names:
            timer = self._timers.pop(name, None)
            if timer is not None:
                timer.cancel()

    def clear(self) -> None:
        self.cancel(*list(self._timers))
