"""The wiring turns an inventory into role settings: on one host over loopback, on many over the mesh."""

import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from tests.processes import run

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = yaml.safe_load((ROOT / "inventories/single/group_vars/all.yml").read_text())
HOSTS = {"data": ("192.0.2.1", "db", "cache"), "app1": ("192.0.2.2", "app"), "app2": ("192.0.2.3", "app"),
         "front": ("192.0.2.4", "edge", "monitor")}  # fmt: skip

NAMES = ("app_key", "postgres_owner", "postgres_app", "postgres_exporter", "postgres_replication", "valkey_app",
         "valkey_exporter", "grafana_admin", "backup_passphrase", "backup_key")  # fmt: skip
SECRETS = {"secrets": {name: f"the {name}" for name in NAMES}, "other": {}, "backup_public_key": "a public key"}


def ansible(program, *arguments, **environment):
    command = [str(Path(sys.executable).with_name(program)), *map(str, arguments)]
    settings = {"ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"), "ANSIBLE_STRATEGY": "linear"}
    return run(command, env=os.environ | settings | environment)


def wiring(inventory, *names, **environment):
    """Host name -> variables, as the playbook would see them; connects to no host."""
    wanted = ", ".join(f"'{name}': {name}" for name in names)
    done = ansible(
        "ansible", "all", "--inventory", inventory, "--playbook-dir", ROOT / "ansible", "--check",
        "--module-name", "ansible.builtin.debug", "--args", f"msg={{{{ {{{wanted}}} | to_json }}}}",
        "--extra-vars", json.dumps({"site_secrets": SECRETS}),
        ANSIBLE_LOAD_CALLBACK_PLUGINS="1", ANSIBLE_STDOUT_CALLBACK="ansible.posix.json",
        ANSIBLE_CALLBACKS_ENABLED="ansible.posix.timer", **environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    report, _ = json.JSONDecoder().raw_decode(done.stdout[done.stdout.index("{") :])
    answers = {name: host["msg"] for name, host in report["plays"][0]["tasks"][0]["hosts"].items()}
    return {name: json.loads(answer) if isinstance(answer, str) else answer for name, answer in answers.items()}


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """An inventory of four hosts."""
    groups = {group: {"hosts": {}} for group in ("db", "cache", "app", "edge", "monitor")}
    for name, (_, *tiers) in HOSTS.items():
        for tier in tiers:
            groups[tier]["hosts"][name] = {}
    hosts = {name: {"ansible_host": address} for name, (address, *_) in HOSTS.items()}
    path = tmp_path_factory.mktemp("many") / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": SETTINGS, "children": groups}}))
    return path


def test_wiring_is_few_short_files():
    files = sorted((ROOT / "ansible/group_vars/all").iterdir())
    assert len(files) <= 4
    assert all(len(file.read_text().splitlines()) <= 150 for file in files)


def test_one_host_needs_at_most_ten_settings():
    hosts = yaml.safe_load((ROOT / "inventories/single/hosts.yml").read_text())["all"]["hosts"]
    assert len(SETTINGS) + sum(len(settings) for settings in hosts.values()) <= 10


def test_product_settings_are_few_and_documented():
    documented = yaml.safe_load((ROOT / "roles/preflight/meta/argument_specs.yml").read_text())["argument_specs"]
    checked = yaml.safe_load((ROOT / "roles/preflight/vars/main.yml").read_text())["__preflight_settings"]
    assert [rule["name"] for rule in checked] == list(documented["settings"]["options"])
    assert len(checked) <= 15
    assert set(SETTINGS) <= {rule["name"] for rule in checked}


def test_one_host_talks_over_loopback_and_opens_three_ports():
    names = ("host_listen", "firewall_public_ports", "firewall_allow", "nginx_web", "nginx_live", "base_packages")
    pong = wiring(ROOT / "inventories/single", *names)["pong"]
    assert pong["host_listen"] == ["127.0.0.1"]
    assert sorted(pong["firewall_public_ports"]) == [22, 80, 443]
    assert pong["firewall_allow"] == []
    assert pong["nginx_web"] == ["127.0.0.1:8001", "127.0.0.1:8002"]
    assert pong["nginx_live"] == {f"pong-{port}": f"127.0.0.1:{port}" for port in (8101, 8102, 8103)}
    assert {"nftables", "postgresql-17", "valkey-server", "nginx", "certbot", "prometheus"} <= set(
        pong["base_packages"]
    )
    assert "haproxy" not in pong["base_packages"]


def test_many_hosts_have_what_their_tiers_need_and_no_more(many):
    hosts = wiring(many, "host_listen", "host_address", "firewall_public_ports", "base_packages")
    assert hosts["data"]["host_listen"] == ["127.0.0.1", hosts["data"]["host_address"]]
    assert hosts["data"]["firewall_public_ports"] == [22]
    assert all("haproxy" in host["base_packages"] for host in hosts.values())
    assert "nginx" not in hosts["data"]["base_packages"]
    assert "postgresql-17" not in hosts["app1"]["base_packages"]


def test_a_host_that_was_not_looked_at_may_have_the_database(many):
    hosts = wiring(many, "site_witnesses", "site_signs", "host_takes")
    assert len(hosts["data"]["site_witnesses"]) == len(HOSTS)
    assert all("could not be asked" in told for told in hosts["data"]["site_witnesses"])
    assert any("/etc/matchpoint/app.env" in sign["paths"] for sign in hosts["data"]["site_signs"])
    taken = {name: {one["what"] for one in host["host_takes"]} for name, host in hosts.items()}
    assert taken["data"] == {"the firewall", "HAProxy", "PostgreSQL", "Valkey"}
    assert taken["app1"] == {"the firewall", "HAProxy"}


def test_firewall_opens_exactly_the_pairs_that_talk(many):
    hosts = wiring(many, "firewall_allow", "mesh_accepts")
    opened = {(name, link["port"]): link["peers"] for name, host in hosts.items() for link in host["firewall_allow"]}
    assert opened["data", 5432] == ["app1", "app2"]
    assert opened["data", 6379] == ["app1", "app2"]
    assert opened["app1", 8001] == opened["app1", 8101] == ["front"]
    assert opened["data", 9100] == opened["app2", 18101] == ["front"]
    assert opened["front", 9090] == opened["front", 9093] == ["app1", "app2"]
    assert {host for host, _ in opened} == {"data", "app1", "app2", "front"}
    addresses = {link["port"]: link["addresses"] for link in hosts["data"]["firewall_allow"]}
    assert addresses[5432] == ["192.0.2.2", "192.0.2.3"]
    assert {(link["port"], *link["peers"]) for link in hosts["app1"]["mesh_accepts"]} == {
        (link["port"], *link["peers"]) for link in hosts["app1"]["firewall_allow"]
    }


def test_the_app_knows_every_monitoring_host(many):
    environment = wiring(many, "app_environment")["app1"]["app_environment"]
    front = wiring(many, "host_address")["front"]["host_address"]
    assert environment["MATCHPOINT_PROMETHEUS_URLS"] == f"http://{front}:9090"
    assert environment["MATCHPOINT_ALERTMANAGER_URLS"] == f"http://{front}:9093"


def test_the_app_has_the_same_settings_on_every_host(many):
    """Workers tell by them whether another one has been through a roll that they are still to go through."""
    hosts = wiring(many, "app_environment")
    assert hosts["app1"] == hosts["app2"]


def test_every_run_has_the_hosts_in_the_same_order(many):
    """Sets have an order of their own in each process: "the first edge" would be another one the next time."""
    names = ("tiers", "site_hosts", "nginx_web", "db_addresses", "acme_host")
    first, second = (wiring(many, *names, PYTHONHASHSEED=seed)["app1"] for seed in ("1", "2"))
    assert first == second
    assert first["tiers"]["app"] == ["app1", "app2"]


def test_one_edge_gets_the_certificate_for_all(many, tmp_path):
    inventory = yaml.safe_load(many.read_text())
    inventory["all"]["children"]["edge"]["hosts"]["app2"] = {}
    path = tmp_path / "hosts.yml"
    names = ("nginx_acme_share", "certbot_issuer", "certbot_copies", "firewall_allow")

    def look(**groups):
        inventory["all"]["children"].update(groups)
        path.write_text(yaml.safe_dump(inventory))
        return wiring(path, *names)

    hosts = look()  # app2 is the first of the edges
    assert hosts["app2"]["nginx_acme_share"]["listen"].endswith(":8402")
    assert hosts["front"]["nginx_acme_share"] == {"upstream": hosts["app2"]["nginx_acme_share"]["listen"]}
    assert hosts["app2"]["certbot_copies"] == {"front": {"address": "192.0.2.4", "port": 22}}
    assert [link["peers"] for link in hosts["app2"]["firewall_allow"] if link["port"] == 8402] == [["front"]]
    assert look(acme={"hosts": {"front": {}}})["app2"]["certbot_issuer"] == "front"


def test_one_edge_alone_hands_nothing_over(many):
    front = wiring(many, "nginx_acme_share", "certbot_copies", "firewall_allow")["front"]
    assert (front["nginx_acme_share"], front["certbot_copies"]) == ({}, {})
    assert 8402 not in {link["port"] for link in front["firewall_allow"]}


def test_many_hosts_reach_each_other(many):
    hosts = wiring(many, "host_address", "nginx_web", "nginx_live", "scrape_targets", "db_addresses", "mesh_connects")
    at = {name: host["host_address"] for name, host in hosts.items()}
    assert len(set(at.values())) == len(at)
    assert all(address.startswith("127.") and address != "127.0.0.1" for address in at.values())
    front = hosts["front"]
    assert front["db_addresses"] == [at["data"]]
    assert {f"{at['app1']}:8001", f"{at['app2']}:8002"} <= set(front["nginx_web"])
    assert front["nginx_live"]["app2-8101"] == f"{at['app2']}:8101"
    assert {target["host"]: target["address"] for target in front["scrape_targets"] if target["job"] == "node"} == at
    reached = {(link["mesh"], link["port"]): link["address"] for link in hosts["app1"]["mesh_connects"]}
    assert reached == {
        (at["data"], 5432): "192.0.2.1", (at["data"], 6379): "192.0.2.1",
        (at["front"], 9090): "192.0.2.4", (at["front"], 9093): "192.0.2.4",
    }  # fmt: skip


def test_a_host_that_could_not_be_locked_stands_in_for_nobody(many, tmp_path):
    assert {name: host["host_alone_in"] for name, host in wiring(many, "host_alone_in").items()} == {
        "app1": [], "app2": [], "data": ["db", "cache"], "front": ["edge", "monitor"],
    }  # fmt: skip
    site = yaml.safe_load(many.read_text())
    site["all"]["hosts"]["app2"]["lock_taken"] = {"unreachable": True}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(site))
    hosts = wiring(tmp_path / "hosts.yml", "host_alone_in", "gone")
    assert hosts["app1"] == {"host_alone_in": ["app"], "gone": ["app2"]}
    assert hosts["front"]["host_alone_in"] == ["edge", "monitor"]


def test_a_host_whose_workers_are_down_stands_in_for_nobody(many, tmp_path):
    site = yaml.safe_load(many.read_text())
    both = "matchpoint-live@8101.service loaded active\nmatchpoint-web@8001.service loaded active"
    for running, alone in ((both, []), (both.splitlines()[1], ["app"]), ("", ["app"])):
        site["all"]["hosts"]["app2"]["units_that_run"] = {"stdout": running}
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump(site))
        assert wiring(tmp_path / "hosts.yml", "host_alone_in")["app1"]["host_alone_in"] == alone


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"matchpoint_domain": ""},
            "matchpoint_domain is not set: it must be a DNS name in lower case, for example pong",
        ),
        ({"matchpoint_smtp_url": "mail:25"}, "matchpoint_smtp_url is (hidden): it must be the address of a mail relay"),
        ({"matchpoint_smtp_url": "smtp://ops:it's@mail:25"}, "with special characters of user and password as %XX"),
        ({"matchpoint_smtp_url": "smtp+ssl://mail.example.com:4465"}, "smtp+ssl:// for TLS on port 465"),
        (
            {"nginx_aliases": ["www.pong.example.com."]},
            "nginx_aliases has www.pong.example.com.: it must be a DNS name",
        ),
        ({"matchpoint_domian": "x"}, "matchpoint_domian (the command line) is no setting of Matchpoint"),
    ],
)
def test_wrong_settings_stop_the_deploy_before_a_host_is_touched(change, told):
    done = ansible(
        "ansible-playbook", "-i", ROOT / "inventories/single", ROOT / "ansible/site.yml", "-e", json.dumps(change)
    )
    output = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert told in output
    assert "unreachable=0" in output


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"db": []}, "the inventory has no host in the group db, for example db: {hosts: {"),
        ({"cache": ["data", "app1"]}, "the group cache has 2 hosts (app1, data): it can have one"),
        ({"monitor": ["app1", "data", "front"]}, "the group monitor has 3 hosts (app1, data, front): it can have one"),
        ({"acme": ["app1", "front"]}, "the group acme has 2 hosts (app1, front): one edge gets"),
        ({"acme": ["app1"]}, "the host app1 is in the group acme and in no group edge: challenges come to edges"),
        ({"app": ["app1", "app2", "twin"]}, "the hosts app1 and twin are both reached by SSH at 192.0.2.2:22"),
    ],
)  # fmt: skip
def test_wrong_shapes_stop_the_deploy_before_a_host_is_touched(many, tmp_path, change, told):
    inventory = yaml.safe_load(many.read_text())
    inventory["all"]["hosts"]["twin"] = {"ansible_host": "192.0.2.2" if "app" in change else "192.0.2.9"}
    inventory["all"]["children"]["edge"]["hosts"]["twin"] = {}
    for group, hosts in change.items():
        inventory["all"]["children"].setdefault(group, {})["hosts"] = {name: {} for name in hosts}
    path = tmp_path / "hosts.yml"
    path.write_text(yaml.safe_dump(inventory))
    done = ansible("ansible-playbook", "-i", path, ROOT / "ansible/site.yml")
    output = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert told in output
    assert "unreachable=0" in output


def test_a_limited_deploy_is_refused_when_an_edge_that_it_leaves_out_lacks_the_static_files(tmp_path):
    play = {
        "hosts": "localhost", "gather_facts": False, "vars": {"nginx_elsewhere": ["edge1", "dead"]},
        "tasks": [{"ansible.builtin.import_role": {"name": "nginx", "tasks_from": "static_elsewhere"}}],
    }  # fmt: skip
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    here = {"ansible_connection": "local"}
    hosts = {"localhost": here, "edge1": here, "dead": {"ansible_host": "127.0.0.1", "ansible_port": 1}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    files = {"nginx_static": str(tmp_path), "nginx_static_archive": "/releases/new.static.tar.gz"}
    run = ("ansible-playbook", "-i", tmp_path / "hosts.yml", "-e", json.dumps(files), tmp_path / "play.yml")
    refused = ansible(*run)
    assert refused.returncode != 0
    told = " ".join((refused.stdout + refused.stderr).split())
    assert "LIMIT leaves out edge1, where the static files of new are missing" in told, told
    manifest = tmp_path / "releases/new/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text('{"files": {}}')  # an empty one is what a full disk left
    passed = ansible(*run)
    assert passed.returncode == 0, passed.stdout + passed.stderr


def test_monitoring_hosts_know_how_many_targets_to_expect(many):
    hosts = wiring(many, "scrape_targets", "monitor_constants", "site_probes", "tiers")
    constants = {constant["labels"]["job"]: constant["value"] for constant in hosts["front"]["monitor_constants"]}
    assert constants["node"] == 4
    assert (constants["web"], constants["live"]) == (4, 6)  # two app hosts
    assert constants["nginxlog"] == constants["nginx"] == 1
    assert constants["probe"] == 6 + 4  # a socket of each live worker; page, status page, certificate, name
    assert all(constant["name"] == "matchpoint_expected_targets" for constant in hosts["front"]["monitor_constants"])
