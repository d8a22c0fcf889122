"""Settings: what an inventory says reaches the roles, wherever it is said."""

import re
import shutil

import pytest
import yaml

from tests.roles.test_skeleton import ROLES, load, options
from tests.roles.test_wiring import ROOT, SETTINGS, ansible, as_roles_see_them, settled

SPECS = {name: option for role in ROLES for name, option in options(role).items()}
SPECS |= load(ROOT / "roles/preflight/meta/argument_specs.yml")["argument_specs"]["hosts"]["options"]
DEFAULTS = {name: value for role in ROLES for name, value in (load(role / "defaults/main.yml") or {}).items()}


def value(option, said, default=None):
    """A value of the type of an option that tells where it was said (1, 2, ...), and is not the default."""
    match option["type"]:
        case "bool":
            return not default
        case "int":
            return 40000 + said
        case "float":
            return said / 8
        case "list":
            return [value(option | {"type": option["elements"]}, said)]
        case "dict":
            return {name: value(each, said) for name, each in option.get("options", {}).items()} or {"said": said}
    return [each for each in option["choices"] if each != default][-1] if "choices" in option else f"said-{said}"


def every_setting(said):
    return {name: value(option, said, DEFAULTS.get(name)) for name, option in SPECS.items()}


@pytest.mark.parametrize("everywhere", [False, True], ids=["vars of hosts.yml", "group_vars/all.yml, which wins"])
def test_every_documented_setting_reaches_its_role_wherever_the_inventory_says_it(tmp_path, everywhere):
    hosts = {name: {"ansible_host": f"192.0.2.{number}"} for number, name in enumerate(("plain", "grouped", "own"), 1)}
    groups = {group: {"hosts": {"plain": {}}} for group in ("db", "cache", "edge", "monitor")}
    groups["app"] = {"hosts": {"grouped": {}, "own": {}}}
    site = {"all": {"hosts": hosts, "vars": SETTINGS | every_setting(1), "children": groups}}
    files = {"hosts.yml": site, "group_vars/app.yml": every_setting(3), "host_vars/own.yml": every_setting(4)}
    if everywhere:
        files["group_vars/all.yml"] = every_setting(2)
    for name, content in files.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content))
    answers = as_roles_see_them(tmp_path / "site", tmp_path, SPECS, settled())
    for host, said in {"plain": 2 if everywhere else 1, "grouped": 3, "own": 4}.items():
        lost = {name: got for name, got in answers[host].items() if got != every_setting(said)[name]}
        assert not lost, f"{host} does not get what its inventory says"


WRONG = {  # by type
    "bool": "perhaps", "int": "many", "float": "much", "str": ["hush"], "path": ["hush"],
    "list": "hush", "dict": "hush",
}  # fmt: skip


def refusal(inventory, *arguments):
    """What a deploy says that refuses an inventory before it touches a host: one sentence a fault."""
    done = ansible("ansible-playbook", "-i", inventory, ROOT / "ansible/site.yml", *arguments, COLUMNS="10000")
    assert done.returncode != 0, done.stdout
    assert "unreachable=0" in done.stdout
    assert "hush" not in done.stdout + done.stderr, "a value that may be secret is told"
    return " ".join(done.stdout.split())


def site(folder, **files):
    """The example of one host with more in it."""
    shutil.copytree(ROOT / "inventories/single", folder / "site", ignore=shutil.ignore_patterns("secrets"))
    for name, content in files.items():
        path = folder / "site" / f"{name.replace('__', '/')}.yml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return folder / "site"


REMOVED = load(ROOT / "roles/preflight/vars/main.yml")["__preflight_removed"]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What a deploy says of every setting of a wrong type, every name that is misspelled, and all that were removed."""
    wrong = {name: WRONG[option["type"]] for name, option in SPECS.items()}
    others = {name[:-1]: "hush" for name in SPECS} | dict.fromkeys(REMOVED, "hush")
    inventory = site(tmp_path_factory.mktemp("wrong"), group_vars__app=wrong, host_vars__pong=others)
    return refusal(inventory, "--limit", "pong")


def test_misspelled_and_wrongly_typed_settings_of_every_role_are_refused_in_one_run(told):
    for name, option in SPECS.items():
        wrong = WRONG[option["type"]]
        assert re.search(rf"\b{name} is (of another type|\"{wrong}\")[^:]*: it must be ", told), (name, option)
        assert f"{name[:-1]} (host pong) is no setting of Matchpoint: did you mean " in told


def test_removed_settings_are_refused_with_what_to_do(told):
    assert not set(REMOVED) & set(SPECS)
    for name, instead in REMOVED.items():
        assert f"{name} (host pong) was removed: {' '.join(instead.split())}" in told.replace("''", "'")


def test_what_is_nearly_right_is_refused_wherever_it_is_said_and_what_is_ones_own_is_not(tmp_path):
    hosts = yaml.safe_load((ROOT / "inventories/cluster/hosts.yml").read_text())
    children = hosts["all"]["children"]
    children["app"]["hosts"]["app3"] |= {"private_adress": "192.0.2.23", "app_keep_releases": "three"}
    children["edges"] = {"hosts": {"edge1": None}}
    children["metrics"] = {"hosts": {"mon1": None}}
    children["berlin"] = {"hosts": {"app1": None, "app3": None}, "vars": {"ngnix_hsts_seconds": 1, "room": 4}}
    settings = SETTINGS | {
        "my_nginx": 1, "secrets": "hush", "__app_root": "hush", "valkey_maxmemory_mb": None, "app_ready_seconds": "9",
        "app_listen": "{{ ansible_facts['default_ipv4']['address'] }}", "app_host": "{{ 1 / 0 }}",
        "prometheus_targets": [{"jbo": "hush", "ports": [80, "www"], "host": "a", "address": "b"}],
        "exporters_enabled": ["node", "notes"], "grafana_external_url": False,
    }  # fmt: skip
    told = refusal(site(tmp_path, hosts=hosts, group_vars__all=settings), "-e", "app_live_worker=1", "--limit", "db1")
    faults = [
        "the group edges is none of Matchpoint''s: did you mean edge?",
        "the group metrics is none of Matchpoint''s and does nothing: the groups are db, cache, app, edge, monitor,",
        "__app_root is no setting of Matchpoint",
        "app_live_worker (the command line) is no setting of Matchpoint: did you mean live_workers?",
        "ngnix_hsts_seconds (group berlin) is no setting of Matchpoint: did you mean nginx_hsts_seconds?",
        "private_adress (host app3) is no setting of Matchpoint: did you mean private_address?",
        "secrets is a name of Matchpoint''s wiring",
        'app_keep_releases (of app3) is "three": it must be a whole number',
        "app_host cannot be worked out: its template fails",
        "valkey_maxmemory_mb is empty: it must be a whole number; without the line it has its default",
        "prometheus_targets[0] has jbo, which it cannot have: did you mean job?",
        'prometheus_targets[0].ports[1] is "www": it must be a whole number',
        "prometheus_targets[0] lacks job",
        'exporters_enabled[1] is "notes": it must be one of node, postgres, valkey, nginx, mtail, blackbox',
        "grafana_external_url is false: it must be a text (as which YAML reads the words off, no, on and yes)",
    ]
    assert [fault for fault in faults if fault not in told] == [], told
    assert told.count("- ") - told.count("-- ") <= len(faults) + 8
    assert not re.findall(r"my_nginx|\broom\b|berlin is none|app_listen|app_ready_seconds", told)


def test_grafana_that_is_off_is_off_with_and_without_quotes(tmp_path):
    words = {"quoted": '"off"', "bare": "off", "other": "no"}
    hosts = {name: {"ansible_host": f"192.0.2.{number}"} for number, name in enumerate(words, 1)}
    groups = {group: {"hosts": dict.fromkeys(hosts)} for group in ("db", "cache", "app", "edge", "monitor")}
    said = {f"host_vars__{name}": f"grafana_source: {word}\n" for name, word in words.items()}
    inventory = site(tmp_path, hosts={"all": {"hosts": hosts, "children": groups}}, **said)
    names = ("grafana_source", "site_grafana", "alertmanager_link_dashboards", "host_services")
    for name, answer in as_roles_see_them(inventory, tmp_path, names, settled()).items():
        assert answer["grafana_source"] == yaml.safe_load(words[name])
        assert answer["site_grafana"] == [], "one of them has a Grafana"
        assert answer["alertmanager_link_dashboards"] is False
        assert "grafana" not in answer["host_services"]["offers"], name


def test_edges_and_firewalls_know_as_many_workers_as_the_inventory_says(tmp_path):
    hosts = yaml.safe_load((ROOT / "inventories/cluster/hosts.yml").read_text())
    hosts["all"]["children"]["app"]["hosts"]["app2"] |= {"live_workers": 8, "web_workers": 3}
    names = ("site_live", "site_web", "app_live_ports", "firewall_allow")
    answers = as_roles_see_them(site(tmp_path, hosts=hosts), tmp_path, names, settled())
    assert answers["app1"]["app_live_ports"] == [8101, 8102, 8103]
    assert answers["app2"]["app_live_ports"] == [*range(8101, 8110)]
    for edge in ("edge1", "edge2"):
        assert [name for name in answers[edge]["site_live"] if name.startswith("app2-")] == [
            f"app2-{port}" for port in answers["app2"]["app_live_ports"]
        ]
        assert len(answers[edge]["site_web"]) == 2 + 3 + 2
    assert {8003, 8109} <= {link["port"] for link in answers["app2"]["firewall_allow"]}


def test_memory_of_services_follows_the_size_of_the_host_and_not_its_drift(tmp_path):
    """MemTotal in MiB -> what PostgreSQL and Valkey go by, the size that the host is sold as."""
    sizes = {
        700: 1024,
        967: 1024,
        1740: 1024,
        1741: 2048,
        1967: 2048,
        2001: 2048,
        3791: 4096,
        3922: 4096,
        7940: 8192,
        24105: 24576,
    }
    hosts = {
        f"host{memory}": {"ansible_host": f"192.0.2.{number}", "room": memory} for number, memory in enumerate(sizes, 1)
    }
    groups = {group: {"hosts": dict.fromkeys(hosts)} for group in ("db", "cache", "app", "edge", "monitor")}
    inventory = site(tmp_path, hosts={"all": {"hosts": hosts, "children": groups}})
    gathered = {"ansible.builtin.set_fact": {"memtotal_mb": "{{ room }}", "cacheable": True}}
    names = ("postgres_memory_mb", "valkey_maxmemory_mb")
    answers = as_roles_see_them(inventory, tmp_path, names, [gathered])
    assert {host: answer["postgres_memory_mb"] for host, answer in answers.items()} == {
        f"host{memory}": size for memory, size in sizes.items()
    }
    assert answers["host7940"]["valkey_maxmemory_mb"] == 1024
    assert answers["host967"]["valkey_maxmemory_mb"] == 256
