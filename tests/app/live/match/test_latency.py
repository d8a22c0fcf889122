"""The lag grace and its quota."""

import random

import pytest

from engine import RULES
from live.match.course import LATE_US
from live.match.latency import LatencyMeter

CAP = 120_000


def test_there_is_no_grace_before_the_server_has_measured() -> None:
    meter = LatencyMeter(CAP)
    for _ in range(20):
        meter.sample(None)
    assert (meter.grace, meter.rtt) == (0, None)
    for _ in range(4):
        assert meter.grace == 0
        meter.sample(40_000)
    assert meter.grace == 30_000


@pytest.mark.parametrize("rtt_ms", [50, 100, 150, 200])
def test_nineteen_of_twenty_inputs_count_from_when_they_were_made(rtt_ms: int) -> None:
    """On a line with 20 ms of jitter each way, up to 200 ms there and back."""
    rng = random.Random(rtt_ms)

    def one_way() -> int:
        return int(1000 * (rtt_ms / 2 + abs(rng.gauss(0, 20))))

    meter = LatencyMeter(RULES.grace_max)
    meter.line_measured(1000 * rtt_ms)
    late = 0
    for _ in range(600):
        meter.sample(one_way() + one_way())
        for used in (one_way() for _ in range(2) if meter.grace):
            late += used > meter.grace + LATE_US
        meter.crossing(min(max(one_way() for _ in range(3)), meter.grace))
    assert late <= 1200 / 20


def test_jitter_widens_the_grace_up_to_the_cap() -> None:
    steady, shaky, slow = LatencyMeter(CAP), LatencyMeter(CAP), LatencyMeter(CAP)
    for number in range(16):
        steady.sample(60_000)
        shaky.sample(40_000 + 20_000 * (number % 2))
        slow.sample(900_000)
    assert steady.grace < shaky.grace < slow.grace == CAP


def test_whoever_lives_on_the_grace_runs_out_of_it() -> None:
    greedy, honest = LatencyMeter(CAP), LatencyMeter(CAP)
    for _ in range(16):
        greedy.sample(400_000)
        honest.sample(80_000)
    for _ in range(40):
        greedy.crossing(greedy.grace)
        honest.crossing(honest.grace)
    assert greedy.grace <= CAP // 2
    assert honest.grace == 50_000
