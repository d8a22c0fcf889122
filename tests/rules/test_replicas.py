"""Two monitoring hosts watch the same things, and on-call hears of each once."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.rules.contract import known
from tests.rules.model import ROOT, RULES, role_template, role_value, run

TARGETS = [
    {"job": "node", "ports": [9100], "host": "app1", "address": "127.70.0.1"},
    {"job": "web", "ports": [18001, 18002], "host": "app1", "address": "127.70.0.1"},
    {"job": "live", "ports": [18101, 18102], "host": "app1", "address": "127.70.0.1"},
    {"job": "node", "ports": [9100], "host": "edge1", "address": "127.70.0.2"},
]
EDGES = {"edge1": "192.0.2.1", "edge2": "2001:db8::2"}
PROBES = [
    *({"probe": kind, "host": edge} for edge in EDGES for kind in ("https_home", "https_status", "https_cert")),
    {"probe": "https_name", "host": "edge1"},
    {"probe": "wss", "host": "app1", "worker": "app1-8101"},
    {"probe": "wss", "host": "app1", "worker": "app1-8102"},
]


def prometheus(**settings: Any) -> dict:
    return yaml.safe_load(role_template("prometheus", "etc/prometheus/prometheus.yml", **settings))


@pytest.fixture(scope="module")
def targets() -> list[dict]:
    text = role_template(
        "prometheus",
        "etc/prometheus/targets.yml",
        prometheus_site="pong.example.com",
        prometheus_prober="127.70.0.9:9115",
        prometheus_targets=TARGETS,
        prometheus_probes=PROBES,
        prometheus_edges=EDGES,
    )
    return yaml.safe_load(text)


@pytest.fixture(scope="module")
def modules() -> dict:
    text = role_template(
        "exporters", "etc/prometheus/blackbox.yml", exporters_probes=PROBES, exporters_probe_name="pong.example.com"
    )
    return yaml.safe_load(text)["modules"]


def kind(targets: list[dict], job: str) -> list[dict]:
    return [entry for entry in targets if entry["labels"]["job"] == job]


@pytest.mark.parametrize("replica", ["", "mon1"])
def test_promtool_accepts_the_configuration(replica: str, tmp_path: Path) -> None:
    config = tmp_path / "prometheus.yml"
    config.write_text(role_template("prometheus", "etc/prometheus/prometheus.yml", prometheus_replica=replica))
    done = run("promtool", "check", "config", "--syntax-only", config)
    assert done.returncode == 0, done.stdout + done.stderr


def test_replicas_differ_in_a_label_that_no_alertmanager_sees() -> None:
    managers = ["127.70.0.1:9093", "127.70.0.2:9093"]
    one, two = (prometheus(prometheus_replica=name, prometheus_alertmanagers=managers) for name in ("mon1", "mon2"))
    assert one["global"]["external_labels"].pop("replica") == "mon1"
    assert two["global"]["external_labels"].pop("replica") == "mon2"
    assert one == two
    assert one["alerting"]["alert_relabel_configs"] == [{"regex": "replica", "action": "labeldrop"}]
    assert one["alerting"]["alertmanagers"][0]["static_configs"] == [{"targets": managers}]


def test_a_prometheus_alone_is_no_replica() -> None:
    alone = prometheus()
    assert "replica" not in alone["global"]["external_labels"]
    assert "alert_relabel_configs" not in alone["alerting"]


def test_no_two_targets_have_the_same_labels(targets: list[dict]) -> None:
    shown = [{key: value for key, value in entry["labels"].items() if not key.startswith("__")} for entry in targets]
    assert len({tuple(sorted(labels.items())) for labels in shown}) == len(shown)
    assert all(labels["host"] and labels["job"] and labels["instance"] for labels in shown)


def test_processes_of_the_game_are_known_by_their_own_ports(targets: list[dict]) -> None:
    live = kind(targets, "live")
    assert [entry["targets"] for entry in live] == [["127.70.0.1:18101"], ["127.70.0.1:18102"]]
    assert [entry["labels"]["worker"] for entry in live] == ["app1-8101", "app1-8102"]
    assert [entry["labels"]["process"] for entry in kind(targets, "web")] == ["8001", "8002"]


def test_every_edge_is_probed_by_its_own_address_and_every_worker_through_every_edge(targets: list[dict]) -> None:
    probes = [entry["labels"] for entry in kind(targets, "probe")]
    asked = {(probe["probe"], probe["host"], probe.get("edge"), probe["__param_target"]) for probe in probes}
    assert asked == {
        ("https_home", "edge1", "edge1", "https://192.0.2.1/"),
        ("https_home", "edge2", "edge2", "https://[2001:db8::2]/"),
        ("https_status", "edge1", "edge1", "https://192.0.2.1/status"),
        ("https_status", "edge2", "edge2", "https://[2001:db8::2]/status"),
        ("https_cert", "edge1", "edge1", "192.0.2.1:443"),
        ("https_cert", "edge2", "edge2", "[2001:db8::2]:443"),
        ("https_name", "edge1", None, "https://pong.example.com/"),
        ("wss", "app1", "edge1", "192.0.2.1:443"),
        ("wss", "app1", "edge2", "[2001:db8::2]:443"),
    }
    assert len([probe for probe in probes if probe["probe"] == "wss"]) == 4
    assert {target for entry in kind(targets, "probe") for target in entry["targets"]} == {"127.70.0.9:9115"}


def test_the_prober_has_what_it_is_asked_for_and_asks_for_the_name_of_the_site(
    targets: list[dict], modules: dict
) -> None:
    assert {entry["labels"]["__param_module"] for entry in kind(targets, "probe")} == set(modules)
    for module in modules.values():
        settings = module[module["prober"]]
        assert settings["tls_config"]["server_name"] == "pong.example.com"
        if module["prober"] == "http":
            assert settings["headers"] == {"Host": "pong.example.com"}
    for worker in ("app1-8101", "app1-8102"):
        sent = [step["send"] for step in modules[f"wss_{worker}"]["tcp"]["query_response"] if "send" in step]
        assert sent[0].startswith(f"GET /ws/{worker}/")
        assert "Host: pong.example.com\r" in sent


def test_the_rules_of_a_host_know_what_the_inventory_has(targets: list[dict]) -> None:
    """The heartbeat is compared with it."""
    from ansible.plugins.loader import filter_loader, init_plugin_loader, lookup_loader

    init_plugin_loader()
    filter_loader.add_directory(str(ROOT / "roles/prometheus/filter_plugins"))
    lookup_loader.add_directory(str(ROOT / "ansible/plugins/lookup"))
    (group,) = role_value(
        "prometheus",
        "__prometheus_expected",
        ansible_search_path=[str(ROOT / "roles/prometheus")],
        prometheus_replica="mon1",
        prometheus_rules_dir=str(RULES[0].parent),
        prometheus_targets=TARGETS,
        prometheus_probes=PROBES,
        prometheus_edges=EDGES,
    )
    *of_jobs, of_groups = group["rules"]
    jobs = {entry["labels"]["job"] for entry in targets}
    assert {rule["labels"]["job"]: rule["expr"] for rule in of_jobs} == {
        job: f"vector({len(kind(targets, job))})" for job in jobs
    }
    groups = sum(len(yaml.safe_load(path.read_text())["groups"]) for path in RULES)
    assert of_groups["expr"] == f"vector({groups + 1})", "and this one"
    assert {rule["labels"]["host"] for rule in group["rules"]} == {"mon1"}
    assert {rule["record"] for rule in group["rules"]} <= set(known())


def test_an_alertmanager_alone_listens_for_no_peers_and_one_of_two_knows_the_other() -> None:
    alone = role_template("alertmanager", "etc/default/prometheus-alertmanager")
    assert '--cluster.listen-address="' in alone
    assert "9094" not in alone
    paired = role_template(
        "alertmanager",
        "etc/default/prometheus-alertmanager",
        alertmanager_cluster_listen="192.0.2.5:9094",
        alertmanager_cluster_peers=["192.0.2.6:9094"],
    )
    assert "--cluster.listen-address=192.0.2.5:9094 " in paired
    assert "--cluster.peer=192.0.2.6:9094 " in paired
    assert "--cluster.tls-config=" in paired


def test_gossip_shows_and_wants_certificates_on_both_ends() -> None:
    cluster = {
        "alertmanager_cluster_listen": "192.0.2.5:9094",
        "alertmanager_cluster_tls": {"certificate": "/x/host.crt", "key": "/x/host.key", "ca": "/x/ca.pem"},
    }
    tls = yaml.safe_load(role_template("alertmanager", "etc/prometheus/alertmanager-cluster.yml", **cluster))
    assert tls["tls_server_config"]["client_auth_type"] == "RequireAndVerifyClientCert"
    assert "insecure_skip_verify" not in tls["tls_client_config"]
    unit = role_template(
        "alertmanager", "etc/systemd/system/prometheus-alertmanager.service.d/matchpoint.conf", **cluster
    )
    (install,) = (line.split() for line in unit.splitlines() if line.startswith("ExecStartPre="))
    copied = {install[-1] + Path(path).name for path in install if path.startswith("/x/")}
    assert {value for end in tls.values() for value in end.values() if value.startswith("/")} == copied
    assert len(copied) == 3
