"""The queries of the page mean what it says, by promtool, on what the rules record."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from status.measure import AVAILABLE, BEST_LATELY, COUNT, ERRORS, LATENCY, RECORDED, RESULTS_WAITING, WAYS
from tests.conftest import ROOT
from tests.processes import run

PROMTOOL = shutil.which("promtool", path=f"{ROOT}/.tools/bin:/usr/bin")

PROBE = 'probe_success{job="probe",probe="%s",host="edge1",worker="%s"}'
CANARY = 'matchpoint_canary_last_%s{job="node",host="app1"}'


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed; make lint fetches it")
def test_queries_read_what_the_rules_record(tmp_path: Path) -> None:
    hour = 3600
    series = {
        # The site is down for the second half hour; one of two workers cannot be reached
        PROBE % ("https_name", ""): "1x120 0x120",
        PROBE % ("https_home", ""): "1x120 0x120",
        PROBE % ("wss", "a"): "1x240",
        PROBE % ("wss", "b"): "0x240",
        CANARY % "result": "1x240",
        CANARY % "run_timestamp_seconds": "0+15x240",
        'slo:sli_error:ratio_rate5m{sloth_service="matchpoint",sloth_slo="page-availability",sloth_id="x"}': "0.5x240",
        'slo:sli_error:ratio_rate5m{sloth_service="matchpoint",sloth_slo="socket-connect",sloth_id="y"}': "0.5x240",
        'slo:sli_error_events:rate5m{sloth_service="matchpoint",sloth_slo="page-availability"}': "0.01x240",
        'slo:sli_error_events:rate5m{sloth_service="matchpoint",sloth_slo="socket-connect"}': "0.004x240",
        'matchpoint_results_spooled{job="live",host="app1",process="8101"}': "2x240",
        'matchpoint_results_spooled{job="live",host="app1",process="8102"}': "0 5x1 0x237",
        'matchpoint_input_broadcast_seconds_bucket{job="live",host="app1",le="0.01"}': "0+9x240",
        'matchpoint_input_broadcast_seconds_bucket{job="live",host="app1",le="0.02"}': "0+10x240",
        'matchpoint_input_broadcast_seconds_bucket{job="live",host="app1",le="+Inf"}': "0+10x240",
        'nginx_log_request_seconds_bucket{location="page",le="0.5"}': "0x240",
        'nginx_log_request_seconds_bucket{location="page",le="+Inf"}': "0x240",
    }
    expected: dict[str, list[dict[str, Any]]] = {
        RECORDED: [
            {"labels": 'part:connections_available:ratio{part="connections"}', "value": 1},
            {"labels": 'part:matches_available:ratio{part="matches"}', "value": 1},
            {"labels": 'part:site_available:ratio{part="site"}', "value": 0},
        ],
        BEST_LATELY: [
            {"labels": '{part="connections"}', "value": 1},
            {"labels": '{part="matches"}', "value": 1},
            {"labels": '{part="site"}', "value": 0},
        ],
        WAYS: [{"labels": '{probe="https_home"}', "value": 0}, {"labels": '{probe="wss"}', "value": 0}],
        ERRORS: [{"labels": '{sloth_slo="page-availability"}', "value": 0.5}],
        RESULTS_WAITING: [{"labels": "{}", "value": 2}],
        # 60 minutes: the rules see the site up in the first half
        f"round({COUNT % hour}, 10)": [
            {"labels": f'{{part="{part}"}}', "value": 60} for part in ("connections", "matches", "site")
        ],
        f"round({AVAILABLE % hour}, 0.1)": [
            {"labels": '{part="connections"}', "value": 1},
            {"labels": '{part="matches"}', "value": 1},
            {"labels": '{part="site"}', "value": 0.5},
        ],
        # 9 of 10 within 10 ms, all within 20: half of the last tenth is 15
        f"round({LATENCY['moves'] % hour}, 0.001)": [{"labels": "{}", "value": 0.015}],
        f"absent({LATENCY['pages'] % hour} >= 0)": [{"labels": "{}", "value": 1}],  # nobody came: NaN
    }
    test = {
        "rule_files": [str(ROOT / "monitoring/rules/status.yml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "15s",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {"expr": query, "eval_time": "60m", "exp_samples": samples} for query, samples in expected.items()
                ],
            }
        ],
    }
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump(test))
    done = run([PROMTOOL, "test", "rules", path])
    assert done.returncode == 0, done.stdout + done.stderr
