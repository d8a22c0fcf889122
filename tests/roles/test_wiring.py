"""The wiring turns an inventory into role settings: on one host over loopback, on many over the mesh."""

import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from tests.processes import run

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "ansible/plugins/filter"))
from mesh import local_guards

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = yaml.safe_load((ROOT / "inventories/single/group_vars/all.yml").read_text())
HOSTS = {"data": ("192.0.2.1", "db", "cache"), "app1": ("192.0.2.2", "app"), "app2": ("192.0.2.3", "app"),
         "front": ("192.0.2.4", "edge", "monitor")}  # fmt: skip

ORDERED = ("tiers", "site_hosts", "nginx_web", "db_addresses", "acme_host")  # lists, and what is the first of one
NAMES = ("app_key", "postgres_owner", "postgres_app", "postgres_exporter", "postgres_replication", "valkey_app",
         "valkey_exporter", "grafana_admin", "backup_passphrase", "backup_key")  # fmt: skip
SECRETS = {"secrets": {name: f"the {name}" for name in NAMES}, "other": {}, "backup_public_key": "a public key"}


def ansible(program, *arguments, **environment):
    command = [str(Path(sys.executable).with_name(program)), *map(str, arguments)]
    settings = {"ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"), "ANSIBLE_STRATEGY": "linear"}
    return run(command, env=os.environ | settings | environment)


def shown(names):
    """The words of a debug task: these variables as JSON."""
    wanted = ", ".join(f"'{name}': {name}" for name in names)
    return f"{{{{ {{{wanted}}} | to_json }}}}"


def answers(program, *arguments, **environment):
    """Host name -> what the last task of a run shows."""
    done = ansible(
        program, *arguments, "--extra-vars", json.dumps({"site_secrets": SECRETS}), ANSIBLE_LOAD_CALLBACK_PLUGINS="1",
        ANSIBLE_STDOUT_CALLBACK="ansible.posix.json", ANSIBLE_CALLBACKS_ENABLED="ansible.posix.timer", **environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    report, _ = json.JSONDecoder().raw_decode(done.stdout[done.stdout.index("{") :])
    told = {name: host["msg"] for name, host in report["plays"][0]["tasks"][-1]["hosts"].items()}
    return {name: json.loads(answer) if isinstance(answer, str) else answer for name, answer in told.items()}


def wiring(inventory, *names, hosts="all", **environment):
    """Host name -> variables, as the playbook would see them; connects to no host."""
    return answers(
        "ansible", hosts, "--inventory", inventory, "--playbook-dir", ROOT / "ansible", "--check",
        "--module-name", "ansible.builtin.debug", "--args", f"msg={shown(names)}", **environment,
    )  # fmt: skip


def settled():
    """The tasks of a deploy that set facts, which outrank the inventory; of all hosts together, once."""
    plays = yaml.safe_load((ROOT / "ansible/site.yml").read_text())
    return [task for play in plays for task in play.get("tasks", []) if "ansible.builtin.set_fact" in task]


def as_roles_see_them(inventory, folder, names, tasks, **environment):
    """Host name -> variables, after some tasks."""
    for name in ("ansible/group_vars", "monitoring", "roles"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(ROOT / name)
    show = {"ansible.builtin.debug": {"msg": shown(names)}}
    play = [{"hosts": "all", "gather_facts": False, "tasks": [*tasks, show]}]
    (folder / "ansible/play.yml").write_text(yaml.safe_dump(play))
    return answers("ansible-playbook", "--inventory", inventory, folder / "ansible/play.yml", **environment)


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


@pytest.fixture(scope="module")
def hosts(many, tmp_path_factory):
    """Host name -> what the wiring says of it, in the inventory of four hosts; worked out once, for all tests."""
    names = (
        "host_listen", "host_address", "firewall_public_ports", "base_packages", "site_witnesses", "site_signs",
        "host_takes", "firewall_allow", "mesh_accepts", "mesh_connects", "app_environment", "nginx_acme_share",
        "certbot_copies", "nginx_live", "scrape_targets", "monitor_constants", "host_alone_in",
        "firewall_guards", "firewall_bounds", "relay_address", "base_upgrade_days", *ORDERED,
    )  # fmt: skip
    return as_roles_see_them(many, tmp_path_factory.mktemp("site"), names, settled(), PYTHONHASHSEED="1")


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


def test_many_hosts_have_what_their_tiers_need_and_no_more(hosts):
    assert hosts["data"]["host_listen"] == ["127.0.0.1", hosts["data"]["host_address"]]
    assert hosts["data"]["firewall_public_ports"] == [22]
    assert all("haproxy" in host["base_packages"] for host in hosts.values())
    assert "nginx" not in hosts["data"]["base_packages"]
    assert "postgresql-17" not in hosts["app1"]["base_packages"]


def test_a_host_that_was_not_looked_at_may_have_the_database(hosts):
    assert len(hosts["data"]["site_witnesses"]) == len(HOSTS)
    assert all("could not be asked" in told for told in hosts["data"]["site_witnesses"])
    assert any("/etc/matchpoint/app.env" in sign["paths"] for sign in hosts["data"]["site_signs"])
    taken = {name: {one["what"] for one in host["host_takes"]} for name, host in hosts.items()}
    assert taken["data"] == {"the firewall", "HAProxy", "PostgreSQL", "Valkey"}
    assert taken["app1"] == {"the firewall", "HAProxy"}


def test_firewall_opens_exactly_the_pairs_that_talk(hosts):
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


def test_loopback_is_for_those_who_have_business_there(hosts):
    def may(host, port):
        return next((guard["users"] for guard in hosts[host]["firewall_guards"] if port in guard["ports"]), "anybody")

    assert may("front", 9090) == ["grafana", "haproxy", "prometheus", "www-data"]
    assert may("front", 9100) == ["haproxy", "prometheus"]
    assert may("app1", 9090) == ["haproxy", "matchpoint"], "what stands for another host is guarded here as well"
    assert may("app1", 9100) == may("data", 9100) == ["haproxy"]
    assert may("app1", 5432) == "anybody", "it asks for a password"
    assert hosts["data"]["firewall_bounds"] == []
    canary, live, pages = hosts["app1"]["firewall_bounds"]
    assert canary == {"user": "matchpoint", "group": "matchpoint-canary", "out": [], "ports": ["*"]}
    assert live == {"user": "matchpoint", "group": "matchpoint-live", "out": [], "ports": [5432, 6379]}
    assert pages == {
        "user": "matchpoint",
        "group": "",
        "out": [],
        "ports": [5432, 6379, 8025, 8101, 8102, 8103, 9090, 9093],
    }
    assert hosts["app1"]["relay_address"] == "mail.example.com:587"


def test_hosts_of_one_tier_are_upgraded_in_different_nights(hosts):
    assert hosts["app1"]["base_upgrade_days"] != hosts["app2"]["base_upgrade_days"]
    assert all(host["base_upgrade_days"] for host in hosts.values())


def test_the_app_knows_every_monitoring_host(hosts):
    environment, front = hosts["app1"]["app_environment"], hosts["front"]["host_address"]
    assert environment["MATCHPOINT_PROMETHEUS_URLS"] == f"http://{front}:9090"
    assert environment["MATCHPOINT_ALERTMANAGER_URLS"] == f"http://{front}:9093"


def test_the_app_has_the_same_settings_on_every_host(hosts):
    """Workers tell by them whether another one has been through a roll that they are still to go through."""
    assert hosts["app1"]["app_environment"] == hosts["app2"]["app_environment"]


def test_every_run_has_the_hosts_in_the_same_order(many, hosts):
    """Sets have an order of their own in each process: "the first edge" would be another one the next time."""
    again = wiring(many, *ORDERED, hosts="app1", PYTHONHASHSEED="2")["app1"]
    assert again == {name: hosts["app1"][name] for name in ORDERED}
    assert again["tiers"]["app"] == ["app1", "app2"]


def test_one_edge_gets_the_certificate_for_all(many, tmp_path):
    inventory = yaml.safe_load(many.read_text())
    inventory["all"]["children"]["edge"]["hosts"]["app2"] = {}
    path = tmp_path / "hosts.yml"
    path.write_text(yaml.safe_dump(inventory))
    names = ("nginx_acme_share", "certbot_copies", "firewall_allow")
    hosts = wiring(path, *names, hosts="app2,front")  # app2 is the first of the edges
    assert hosts["app2"]["nginx_acme_share"]["listen"].endswith(":8402")
    assert hosts["front"]["nginx_acme_share"] == {"upstream": hosts["app2"]["nginx_acme_share"]["listen"]}
    assert hosts["app2"]["certbot_copies"] == {"front": {"address": "192.0.2.4", "port": 22}}
    assert [link["peers"] for link in hosts["app2"]["firewall_allow"] if link["port"] == 8402] == [["front"]]
    inventory["all"]["children"]["acme"] = {"hosts": {"front": {}}}
    path.write_text(yaml.safe_dump(inventory))
    assert wiring(path, "certbot_issuer", hosts="app2")["app2"]["certbot_issuer"] == "front"


def test_one_edge_alone_hands_nothing_over(hosts):
    front = hosts["front"]
    assert (front["nginx_acme_share"], front["certbot_copies"]) == ({}, {})
    assert 8402 not in {link["port"] for link in front["firewall_allow"]}


def test_many_hosts_reach_each_other(hosts):
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


def test_a_host_that_could_not_be_locked_stands_in_for_nobody(many, hosts, tmp_path):
    assert {name: host["host_alone_in"] for name, host in hosts.items()} == {
        "app1": [], "app2": [], "data": ["db", "cache"], "front": ["edge", "monitor"],
    }  # fmt: skip
    site = yaml.safe_load(many.read_text())
    site["all"]["hosts"]["app2"]["lock_taken"] = {"unreachable": True}
    # An edge that a limit leaves out was asked, and did not answer
    site["all"]["hosts"]["app1"]["edges_asked"] = {"results": [{"item": "front", "unreachable": True}]}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(site))
    left = wiring(tmp_path / "hosts.yml", "host_alone_in", "gone", "certbot_issuer_answers", hosts="app1,front")
    assert left["app1"] == {"host_alone_in": ["app"], "gone": ["app2", "front"], "certbot_issuer_answers": False}
    assert left["front"]["host_alone_in"] == ["edge", "monitor"]


def test_a_host_whose_workers_are_down_stands_in_for_nobody(many, tmp_path):
    site = yaml.safe_load(many.read_text())
    both = "matchpoint-live@8101.service loaded active\nmatchpoint-web@8001.service loaded active"
    for running, alone in ((both, []), (both.splitlines()[1], ["app"]), ("", ["app"])):
        site["all"]["hosts"]["app2"]["units_that_run"] = {"stdout": running}
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump(site))
        assert wiring(tmp_path / "hosts.yml", "host_alone_in", hosts="app1")["app1"]["host_alone_in"] == alone


def untold(sentences, inventory, *arguments):
    """Those of these sentences that a deploy does not say which refuses an inventory before it touches a host."""
    done = ansible("ansible-playbook", "-i", inventory, ROOT / "ansible/site.yml", *arguments)
    output = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0, output
    assert "unreachable=0" in output
    return [sentence for sentence in sentences if sentence not in output]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"matchpoint_domain": "", "matchpoint_smtp_url": "mail:25", "nginx_aliases": ["www.pong.example.com."],
             "matchpoint_domian": "x"},
            [
                "matchpoint_domain is not set: it must be a DNS name in lower case, for example pong",
                "matchpoint_smtp_url is (hidden): it must be the address of a mail relay",
                "nginx_aliases has www.pong.example.com.: it must be a DNS name",
                "matchpoint_domian (the command line) is no setting of Matchpoint",
            ],
        ),
        ({"matchpoint_smtp_url": "smtp://ops:it's@mail:25"}, ["with special characters of user and password as %XX"]),
        ({"matchpoint_smtp_url": "smtp+ssl://mail.example.com:4465"}, ["smtp+ssl:// for TLS on port 465"]),
    ],
    ids=["one fault of each kind", "a password that is no part of an address", "TLS on another port"],
)  # fmt: skip
def test_wrong_settings_stop_the_deploy_before_a_host_is_touched(change, told):
    assert untold(told, ROOT / "inventories/single", "-e", json.dumps(change)) == []


def test_wrong_shapes_stop_the_deploy_before_a_host_is_touched(many, tmp_path):
    inventory = yaml.safe_load(many.read_text())
    inventory["all"]["hosts"] |= {
        "twin": {"ansible_host": "192.0.2.2"},
        "small": {"live_workers": 0, "web_workers": 900},
    }
    groups = {"db": [], "cache": ["data", "app1"], "monitor": ["app1", "data", "front"], "acme": ["app1", "front"],
              "app": ["app1", "app2", "twin", "small"], "edge": ["front", "twin"]}  # fmt: skip
    inventory["all"]["children"] = {group: {"hosts": dict.fromkeys(hosts)} for group, hosts in groups.items()}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    told = [
        "the inventory has no host in the group db, for example db: {hosts: {",
        "the group cache has 2 hosts (app1, data): it can have one",
        "the group monitor has 3 hosts (app1, data, front): it can have one or two",
        "the group acme has 2 hosts (app1, front): one edge gets",
        "the host app1 is in the group acme and in no group edge: challenges come to edges",
        "the hosts app1 and twin are both reached by SSH at 192.0.2.2:22",
        "live_workers of small is 0: it must be from 1 to 90",
        "web_workers of small is 900: it must be from 1 to 90",
    ]
    assert untold(told, tmp_path / "hosts.yml") == []


def test_a_limited_deploy_is_refused_when_an_edge_that_it_leaves_out_lacks_the_static_files(tmp_path):
    play = {
        "hosts": "localhost", "gather_facts": False, "vars": {"nginx_elsewhere": ["edge1"]},
        "tasks": [{"ansible.builtin.import_role": {"name": "nginx", "tasks_from": "static_elsewhere"}}],
    }  # fmt: skip
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    here = {"ansible_connection": "local"}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"localhost": here, "edge1": here}}}))
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


def test_monitoring_hosts_know_how_many_targets_to_expect(hosts):
    constants = {constant["labels"]["job"]: constant["value"] for constant in hosts["front"]["monitor_constants"]}
    assert constants["node"] == 4
    assert (constants["web"], constants["live"]) == (4, 6)  # two app hosts
    assert constants["nginxlog"] == constants["nginx"] == 1
    assert constants["probe"] == 6 + 4  # a socket of each live worker; page, status page, certificate, name
    assert all(constant["name"] == "matchpoint_expected_targets" for constant in hosts["front"]["monitor_constants"])


def test_a_port_that_is_offered_under_a_name_that_needs_no_guard_is_not_guarded():
    host = {"name": "db1", "offers": {"metrics": [8008, 9100], "failover": [8008]}}
    assert local_guards([host], {"prometheus": ["metrics"]}, ["metrics"]) == [
        {"ports": [9100], "users": ["prometheus"]}
    ]
