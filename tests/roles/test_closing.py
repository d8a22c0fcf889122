"""What people read at the end of a deploy, and of one in check mode."""

import json
from pathlib import Path

import pytest

from tests.roles.test_full_disk import load
from tests.roles.test_wiring import ansible

closing = load("ansible/closing.py")
Record = load("ansible/record.py").Record

PLAY = [
    {
        "hosts": "all",
        "gather_facts": False,
        "tasks": [
            {"name": "Write", "ansible.builtin.copy": {"content": "new\n", "dest": "{{ playbook_dir }}/written"}},
            {"name": "Fail", "ansible.builtin.assert": {"that": "ansible_check_mode"}},
        ],
    }
]
DIFF = {"before": "", "after": "x", "before_header": "/etc/nginx/nginx.conf", "after_header": "/etc/nginx/nginx.conf"}


@pytest.fixture
def record():
    """Of a first deploy: files, our own modules and Ansible's."""
    record = Record()
    record.add("app1", "nginx : Write", "write_files", {}, {"changed": True, "diff": [DIFF]})
    record.add("app1", "nginx : Run", "run_services", {}, {"changed": True, "reloaded": ["nginx.service"]})
    started = {"changed": True, "pending": "start", "restarted": ["matchpoint-web@8001"]}
    record.add("app1", "app : Start", "app_switch", {}, started)
    restart = {"name": "postgresql@17-main", "state": "restarted"}
    record.add("db1", "postgres : Restart", "ansible.builtin.systemd_service", restart, {"changed": True})
    left = {"changed": True, "stopped": ["mtail.service"], "removed": ["/etc/mtail/nginx.mtail"]}
    record.add("db1", "Stop and remove what left", "turn_off", {}, left)
    record.add("db1", "postgres : Look", "command", {}, {"changed": False, "restarted": ["nothing"]})
    return record


def said(record: Record, *, code: int = 0, name: str = "deploy", **settings: object) -> str:
    told = [{"hosts": 2, "domain": "pong.example.com", **json.loads(json.dumps(record.as_dict()))}]
    return closing.closing(name, {"INVENTORY": "inventories/own", **settings}, told, code=code, took=62)


def test_deploy_says_where_it_serves_what_changed_and_what_comes_next(record: Record) -> None:
    told = said(record)
    assert told.startswith("make deploy took 62 s.")
    assert "app1  changed    3 tasks: nginx 2, app 1" in told
    for line in (
        "started    matchpoint-web@8001",
        "reloaded   nginx",
        "restarted  postgresql@17-main",
        "stopped    mtail",
        "removed    /etc/mtail/",
    ):
        assert line in told
    assert "nothing" not in told
    assert "https://pong.example.com/ serves version" in told
    assert "`make verify INVENTORY=inventories/own`" in told
    assert "make staff" in told, "after the first start"
    assert "serves." in said(record, LIMIT="app1"), "a part of the hosts says nothing of the site's version"
    assert "make staff" not in said(Record())
    assert "nothing to change" in said(Record())


def test_one_that_stopped_says_where_and_whether_anything_changed(record: Record) -> None:
    record.failed["app1"] = "nginx : Serve"
    told = said(record, code=2)
    assert "stopped: app1 at `nginx : Serve`" in told
    assert "changed    3 tasks" in told
    assert "goes on from there" in told
    assert "Nothing was changed." in said(Record(), code=2)


def test_check_mode_sums_up_before_the_differences(record: Record) -> None:
    assert "nothing was changed. 5 tasks on 2 hosts would change something" in said(record, CHECK=True)


@pytest.mark.parametrize("is_check", [True, False])
def test_playbooks_tell_what_they_did(tmp_path: Path, is_check: bool) -> None:
    """Through Mitogen: no deprecation; in check mode the summary and then the difference; the report either way."""
    (tmp_path / "play.yml").write_text(json.dumps(PLAY))
    name = "{{ inventory_hostname }}.example.com"
    hosts = {"here": {"ansible_connection": "local"}}
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts, "vars": {"matchpoint_domain": name}}}))
    how = ["--check", "--diff"] if is_check else []
    environment = {"ANSIBLE_STRATEGY": "mitogen_linear", "MATCHPOINT_RUN": str(tmp_path / "run")}
    environment |= {"ANSIBLE_STDOUT_CALLBACK": "check"} if is_check else {}
    done = ansible("ansible-playbook", "-i", tmp_path / "hosts.yml", tmp_path / "play.yml", *how, **environment)
    output = done.stdout + done.stderr
    assert (done.returncode == 0) == is_check, output
    assert "DEPRECATION" not in output
    told = json.loads((tmp_path / "run").read_text())
    assert told["domain"] == "here.example.com"
    assert told["done"]["here"]["changed"] == {"playbook": 1}
    assert told["failed"] == ({} if is_check else {"here": "Fail"})
    if is_check:
        assert output.index("WHAT WOULD BE DONE") < output.index("files      ") < output.index("+new")
        assert not (tmp_path / "written").exists()
