"""The lag grace and its quota."""

from live.match.latency import LatencyMeter

CAP = 120_000


def test_there_is_no_grace_before_the_server_has_measured() -> None:
    meter = LatencyMeter(CAP)
    for _ in range(20):
        meter.sample(claimed=200_000, measured=None)
    assert (meter.grace, meter.rtt) == (0, None)
    for _ in range(4):
        assert meter.grace == 0
        meter.sample(claimed=40_000, measured=40_000)
    assert meter.grace == 30_000


def test_a_claim_is_believed_little_further_than_the_measurement() -> None:
    meter = LatencyMeter(CAP)
    for _ in range(8):
        meter.sample(claimed=2_000_000, measured=20_000)
    assert meter.rtt == 60_000


def test_jitter_widens_the_grace_up_to_the_cap() -> None:
    steady, shaky, slow = LatencyMeter(CAP), LatencyMeter(CAP), LatencyMeter(CAP)
    for number in range(16):
        steady.sample(claimed=None, measured=60_000)
        shaky.sample(claimed=None, measured=40_000 + 20_000 * (number % 2))
        slow.sample(claimed=None, measured=900_000)
    assert steady.grace < shaky.grace < slow.grace == CAP


def test_whoever_lives_on_the_grace_runs_out_of_it() -> None:
    greedy, honest = LatencyMeter(CAP), LatencyMeter(CAP)
    for _ in range(16):
        greedy.sample(claimed=None, measured=400_000)
        honest.sample(claimed=None, measured=80_000)
    for _ in range(40):
        greedy.crossing(greedy.grace)
        honest.crossing(honest.grace)
    assert greedy.grace <= CAP // 2
    assert honest.grace == 50_000
