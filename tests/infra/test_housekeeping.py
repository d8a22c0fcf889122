"""What time decides about data is done every night, on every app host."""

testinfra_hosts = ["ansible://app"]
UNITS = ["matchpoint-housekeeping.service"]


def test_it_is_done_now_and_will_be_tonight(host):
    timer = host.service("matchpoint-housekeeping.timer")
    assert (timer.is_running, timer.is_enabled) == (True, True)
    host.check_output("systemctl start matchpoint-housekeeping.service")
    said = host.check_output("journalctl -u matchpoint-housekeeping.service -o cat -n 20")
    assert "accounts deleted" in said, said
