"""The lab's hosts, from the labels of their containers: there is no second list of hosts."""

from __future__ import annotations

import os
from pathlib import Path

import docker
from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin
from docker.errors import DockerException

DOCUMENTATION = """
name: lab
short_description: hosts of a lab, from container labels
description:
  - Asks the Docker engine of E(DOCKER_HOST) for the containers with the label C(matchpoint.lab=<lab>). A host that is
    down is still a host of the inventory, as in production.
  - The label C(matchpoint.host) names the host, C(matchpoint.groups) lists its groups. A container without groups (the
    world around the lab) is no host.
  - How to reach them, and C(lab_state), the folder of the lab, are variables of all hosts. They are no templates, which
    every task would work out anew.
  - community.docker's inventory plugin names hosts after containers, which carry the name of their lab; alerts, worker
    names and known_hosts should not.
options:
  plugin:
    description: always C(lab)
    required: true
  lab:
    description: name of the lab
    default: matchpoint
    env: [{name: MATCHPOINT_LAB}]
"""


ROOT = Path(__file__).parents[3]


class InventoryModule(BaseInventoryPlugin):
    NAME = "lab"

    def verify_file(self, path):
        return super().verify_file(path) and path.endswith(".docker.yml")

    def parse(self, inventory, loader, path, cache=True):
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        lab = self.get_option("lab")
        state = ROOT / ".lab" / lab
        for name, value in {
            "lab_state": str(state),
            "ansible_user": "ops",
            "ansible_ssh_private_key_file": str(state / "ssh_key"),
            "ansible_ssh_common_args": f"-o 'UserKnownHostsFile=\"{state}/known_hosts\"' -o IdentitiesOnly=yes",
        }.items():
            inventory.set_variable("all", name, value)
        try:
            containers = docker.from_env().containers.list(all=True, filters={"label": f"matchpoint.lab={lab}"})
        except DockerException as error:
            where = os.environ.get("DOCKER_HOST", "the default socket")
            raise AnsibleParserError(f"no Docker engine answers at {where} (`make up` starts one): {error}") from error
        for container in sorted(containers, key=lambda each: each.name):
            groups = [name for name in container.labels.get("matchpoint.groups", "").split(",") if name]
            if not groups:
                continue
            host = inventory.add_host(container.labels["matchpoint.host"])
            for name in groups:
                inventory.add_host(host, group=inventory.add_group(name))
            endpoint = container.attrs["NetworkSettings"]["Networks"][lab]
            fixed = (endpoint.get("IPAMConfig") or {}).get("IPv4Address")
            inventory.set_variable(host, "ansible_host", fixed or endpoint["IPAddress"])
