"""What each task needs is loaded before Ansible forks its processes, once."""

import re
from collections import Counter

import pytest
import yaml

from tests.roles.test_wiring import ansible


@pytest.mark.parametrize("strategy", ["linear", "mitogen_linear"])
def test_tasks_load_no_plugin_of_templates_anew(tmp_path, strategy):
    task = {"ansible.builtin.debug": {"msg": "{{ lookup('env', 'HOME') | basename }}"}, "when": "'a' is match('a')"}
    play = {"hosts": "all", "gather_facts": False, "become": True, "tasks": [task] * 3}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    done = ansible(
        "ansible-playbook", "-i", "192.0.2.1,", tmp_path / "play.yml", ANSIBLE_DEBUG="1", ANSIBLE_STRATEGY=strategy
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    loaded = Counter(re.findall(r"Loading (FilterModule|TestModule) '(\w+)'", done.stdout))
    assert ("FilterModule", "core") in loaded
    assert not {plugin: times for plugin, times in loaded.items() if times > 1}
