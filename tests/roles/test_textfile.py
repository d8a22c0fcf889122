"""What is known on disk alone becomes metrics that Prometheus can read, whole or not at all."""

import os
from pathlib import Path

import pytest

from tests import processes
from tests.rules.model import role_template, run

CONSTANTS = [
    {"name": "matchpoint_expected_targets", "help": "Targets.", "value": 4, "labels": {"job": "web"}},
    {"name": "matchpoint_expected_targets", "help": "Targets.", "value": 3, "labels": {"job": "node"}},
    {"name": "matchpoint_nginx_connections_limit", "help": "Clients.", "value": 8192},
]


class Collector:
    """The program of the role, in a folder of the test instead of the host's."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.outcome, self.lock, self.release = root / "outcome", root / "deploy.lock", root / "current"
        self.folder = root / "node-exporter"
        self.folder.mkdir()
        key, self.certificate = root / "key.pem", root / "cert.pem"
        made = run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3",
            "-subj", "/CN=pong.example.com", "-keyout", key, "-out", self.certificate,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr

    def collect(self) -> dict[str, float]:
        """Series -> value, after the program ran."""
        text = role_template(
            "exporters", "usr/local/lib/matchpoint/textfile-metrics", exporters_certificates=[str(self.certificate)],
            __exporters_release_link=str(self.release), exporters_constants=CONSTANTS,
            __exporters_deploy_outcome=str(self.outcome), __exporters_deploy_lock=str(self.lock),
        )  # fmt: skip
        program = self.root / "textfile-metrics"
        program.write_text(text.replace("/var/lib/prometheus/node-exporter", str(self.folder)))
        done = run("sh", program)
        assert done.returncode == 0, done.stderr
        (page,) = self.folder.iterdir()
        checked = processes.run(["promtool", "check", "metrics"], stdin=page.read_text())
        assert checked.returncode == 0, checked.stderr
        assert page.stat().st_mode & 0o777 == 0o644, "the node exporter could not read it"
        samples = [line.rpartition(" ") for line in page.read_text().splitlines() if not line.startswith("#")]
        return {series: float(value) for series, _, value in samples}


@pytest.fixture
def collector(tmp_path: Path) -> Collector:
    return Collector(tmp_path)


def test_certificate_release_and_constants_are_told(collector: Collector) -> None:
    (collector.root / "20260101-abc").mkdir()
    collector.release.symlink_to("20260101-abc")
    told = collector.collect()
    assert told["matchpoint_deploy_timestamp_seconds" + '{release="20260101-abc"}'] > 1e9
    assert told[f'matchpoint_cert_not_after_seconds{{path="{collector.certificate}"}}'] > 1e9
    assert told['matchpoint_expected_targets{job="web"}'] == 4
    assert told['matchpoint_expected_targets{job="node"}'] == 3
    assert told["matchpoint_nginx_connections_limit"] == 8192
    assert "node_reboot_required" in told


def test_a_host_without_certificate_and_release_tells_the_rest(collector: Collector) -> None:
    collector.certificate.unlink()
    told = collector.collect()
    assert not [series for series in told if "cert" in series or "deploy" in series]
    assert told["matchpoint_nginx_connections_limit"] == 8192


@pytest.mark.parametrize("value", [0, 1])
def test_the_end_of_the_last_deploy_is_told(collector: Collector, value: int) -> None:
    collector.outcome.write_text(f"{value}\n")
    assert collector.collect()["matchpoint_deploy_last_result"] == value


def test_the_lock_is_told_only_while_it_is_held(collector: Collector) -> None:
    collector.lock.write_text("{}")
    os.utime(collector.lock, (1_000_000_000, 1_000_000_000))
    assert collector.collect()["matchpoint_deploy_lock_timestamp_seconds"] == 1_000_000_000
    collector.lock.unlink()
    assert "matchpoint_deploy_lock_timestamp_seconds" not in collector.collect()
