"""What mtail makes of nginx's logs: the real program, fed with lines as nginx writes them."""

import re
from pathlib import Path

import pytest

from tests.rules.model import ROOT, run

PROGRAM = ROOT / "roles/exporters/files/etc/mtail"
CONFIG = (ROOT / "roles/nginx/templates/etc/nginx/nginx.conf.j2").read_text()
LOCATIONS = {"page", "api", "socket", "static", "ops", "other"}
ERROR = '2026/11/23 18:00:00 [error] 12#12: *45 {}, client: 192.0.2.9, server: example.com, request: "GET / HTTP/2.0"{}'


def access(location: str, status: int, seconds: str, path: str = "/") -> str:
    """A line of access.log, by the format of the configuration."""
    (quoted,) = re.findall(r"log_format json escape=json (.*?);\n", CONFIG, re.DOTALL)
    line = "".join(re.findall(r"'(.*?)'", quoted))
    values = {"matchpoint_location": location, "status": str(status), "request_time": seconds, "uri": path}
    return re.sub(r"\$(\w+)", lambda name: values.get(name[1], "-"), line)


def count(folder: Path, *lines: str) -> dict[str, float]:
    """Series -> value after the lines."""
    log = folder / "some.log"
    log.write_text("".join(f"{line}\n" for line in lines))
    done = run(
        "mtail", "--one_shot", "--one_shot_format=prometheus", "--emit_prog_label=false", "--logtostderr",
        "--progs", PROGRAM, "--logs", log,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^(nginx_log_\w+{[^}]*}) (\S+)$", done.stdout, re.MULTILINE)
    assert found, done.stderr
    return {series: float(value) for series, value in found}


def moved(told: dict[str, float], metric: str) -> dict[str, float]:
    return {series: value for series, value in told.items() if series.startswith(f"{metric}{{") and value}


def test_all_label_sets_are_there_after_the_first_line(tmp_path: Path) -> None:
    told = count(tmp_path, "something else")
    requests = [series for series in told if series.startswith("nginx_log_requests_total")]
    assert len(requests) == len(LOCATIONS) * 5
    assert {kind for series in told for kind in re.findall(r'kind="(\w+)"', series)} == {
        "connect", "timeout", "reset", "invalid", "other",
    }  # fmt: skip
    assert not any(told.values())


def test_locations_of_the_configuration_are_those_that_are_counted() -> None:
    (body,) = re.findall(r"\$matchpoint_location \{(.*?)\n    \}", CONFIG, re.DOTALL)
    assert set(re.findall(r"^ +[^ #].* (\w+);$", body, re.MULTILINE)) == LOCATIONS


def test_requests_are_counted_by_status_class_and_location(tmp_path: Path) -> None:
    told = count(tmp_path, access("page", 200, "0.012"), access("page", 502, "0.000"), access("api", 201, "0.100"))
    assert moved(told, "nginx_log_requests_total") == {
        'nginx_log_requests_total{location="page",status_class="2xx"}': 1,
        'nginx_log_requests_total{location="page",status_class="5xx"}': 1,
        'nginx_log_requests_total{location="api",status_class="2xx"}': 1,
    }


def test_times_fall_into_buckets_around_the_objective(tmp_path: Path) -> None:
    times = ("0.000", "0.499", "0.501", "12.000")
    told = count(tmp_path, *(access("page", 200, seconds) for seconds in times))
    bucket = 'nginx_log_request_seconds_bucket{{location="page",le="{}"}}'.format
    assert [told[bucket(le)] for le in ("0.005", "0.25", "0.5", "1", "10", "+Inf")] == [1, 1, 2, 3, 3, 4]
    assert told['nginx_log_request_seconds_count{location="page"}'] == 4


def test_the_life_of_a_socket_is_no_latency(tmp_path: Path) -> None:
    lines = access("socket", 101, "300.000"), access("ops", 101, "60.000"), access("socket", 502, "2.000")
    told = count(tmp_path, *lines)
    assert not moved(told, "nginx_log_request_seconds_count")
    assert told['nginx_log_requests_total{location="socket",status_class="1xx"}'] == 1
    assert told['nginx_log_requests_total{location="socket",status_class="5xx"}'] == 1


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("connect() failed (111: Connection refused) while connecting to upstream", "connect"),
        ("connect() failed (113: No route to host) while connecting to upstream", "connect"),
        ("no live upstreams while connecting to upstream", "connect"),
        ("upstream timed out (110: Connection timed out) while connecting to upstream", "timeout"),
        ("upstream timed out (110: Connection timed out) while reading response header from upstream", "timeout"),
        ("upstream prematurely closed connection while reading response header from upstream", "reset"),
        ("recv() failed (104: Connection reset by peer) while reading response header from upstream", "reset"),
        ("writev() failed (32: Broken pipe) while sending request to upstream", "reset"),
        ("upstream sent invalid header while reading response header from upstream", "invalid"),
        ("upstream sent too big header while reading response header from upstream", "invalid"),
        ("SSL_do_handshake() failed while SSL handshaking to upstream", "other"),
    ],
)
def test_errors_of_workers_are_counted_by_kind(tmp_path: Path, message: str, kind: str) -> None:
    told = count(tmp_path, ERROR.format(message, ', upstream: "http://127.0.0.1:8001/"'))
    assert moved(told, "nginx_log_upstream_errors_total") == {f'nginx_log_upstream_errors_total{{kind="{kind}"}}': 1}


@pytest.mark.parametrize(
    "line",
    [
        ERROR.format("recv() failed (104: Connection reset by peer) while proxying upgraded connection", ""),
        ERROR.format('open() "/var/www/upstream timed out, client: x" failed (2: No such file or directory)', ""),
        ERROR.format('limiting requests, excess: 300.5 by zone "pages"', ""),
        access("page", 404, "0.001", path="upstream timed out, client: "),
    ],
)
def test_what_visitors_do_is_no_error_of_workers(tmp_path: Path, line: str) -> None:
    assert not moved(count(tmp_path, line), "nginx_log_upstream_errors_total")


def test_a_visitor_cannot_write_into_the_figures(tmp_path: Path) -> None:
    path = r"{\"time\":\"\",\"location\":\"api\",\"status\":500,\"seconds\":9.000,"
    told = count(tmp_path, access("page", 404, "0.001", path=path))
    (series,) = moved(told, "nginx_log_requests_total")
    assert series == 'nginx_log_requests_total{location="page",status_class="4xx"}'


def test_what_nginx_does_not_know_is_the_visitors_fault(tmp_path: Path) -> None:
    told = count(tmp_path, access("page", 501, "0.000"), access("page", 500, "0.010"))
    assert moved(told, "nginx_log_requests_total") == {
        'nginx_log_requests_total{location="page",status_class="4xx"}': 1,
        'nginx_log_requests_total{location="page",status_class="5xx"}': 1,
    }
