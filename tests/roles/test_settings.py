"""Settings: what an inventory says reaches the roles, wherever it is said."""

import json

import pytest
import yaml

from tests.roles.test_skeleton import ROLES, load, options
from tests.roles.test_wiring import ROOT, SETTINGS, ansible

SPECS = {name: option for role in ROLES for name, option in options(role).items()}
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


def as_roles_see_them(inventory, folder, names):
    """Host name -> settings, after the facts that the first plays of a deploy set, which outrank the inventory."""
    for name in ("ansible/group_vars", "monitoring", "roles"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(ROOT / name)
    plays = yaml.safe_load((ROOT / "ansible/site.yml").read_text())
    settled = [task for play in plays for task in play.get("tasks", []) if "ansible.builtin.set_fact" in task]
    wanted = ", ".join(f"'{name}': {name}" for name in names)
    show = {"ansible.builtin.debug": {"msg": f"{{{{ {{{wanted}}} | to_json }}}}"}}
    play = [{"hosts": "all", "gather_facts": False, "tasks": [*settled, show]}]
    (folder / "ansible/play.yml").write_text(yaml.safe_dump(play))
    done = ansible(
        "ansible-playbook", "-i", inventory, folder / "ansible/play.yml",
        ANSIBLE_STDOUT_CALLBACK="ansible.posix.json", ANSIBLE_CALLBACKS_ENABLED="ansible.posix.timer",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    report, _ = json.JSONDecoder().raw_decode(done.stdout[done.stdout.index("{") :])
    answers = {name: host["msg"] for name, host in report["plays"][0]["tasks"][-1]["hosts"].items()}
    return {name: json.loads(answer) if isinstance(answer, str) else answer for name, answer in answers.items()}


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
    answers = as_roles_see_them(tmp_path / "site", tmp_path, SPECS)
    for host, said in {"plain": 2 if everywhere else 1, "grouped": 3, "own": 4}.items():
        lost = {name: got for name, got in answers[host].items() if got != every_setting(said)[name]}
        assert not lost, f"{host} does not get what its inventory says"
