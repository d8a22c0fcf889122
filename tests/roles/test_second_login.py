"""The login that proves a changed sshd is one of its own, and is made as the inventory says."""

import sys
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "ansible/plugins/action"))
from second_login import login


def test_the_second_login_uses_nothing_of_the_first_and_all_of_the_inventory():
    told = {
        "inventory_hostname": "app1", "ansible_host": "192.0.2.2", "ansible_port": 2222, "ansible_user": "ops",
        "ansible_ssh_private_key_file": "/keys/with space",
        "ansible_ssh_common_args": "-o 'UserKnownHostsFile=\"/a b\"'",
    }  # fmt: skip
    words = login(told)
    assert words[-2:] == ["192.0.2.2", "true"]
    assert {"ControlMaster=no", "ControlPath=none", "BatchMode=yes", 'UserKnownHostsFile="/a b"'} <= {*words}
    pairs = dict(pairwise(words))
    assert (pairs["-p"], pairs["-l"], pairs["-i"]) == ("2222", "ops", "/keys/with space")
    assert login({"inventory_hostname": "app1"})[-2:] == ["app1", "true"]
