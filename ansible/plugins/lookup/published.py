"""Merge what roles publish about themselves: the packages they need, the ports they open, the targets they offer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: published
short_description: what parts of roles publish
description:
  - Every role has C(meta/publish.yml), a dict of parts. A part is a dict of lists, such as C(packages) or C(scrape),
    and of lists by a name, such as C(offers), ports by service.
  - Returns one dict with the lists and services of all the named parts joined. Values may be templates over the host's
    variables.
options:
  _terms:
    description: names of parts, C(role/part), or C(role) for the part named like its role
    required: true
"""


class LookupModule(LookupBase):
    merged: dict[
        tuple, dict[str, Any]
    ] = {}  # a loop asks for every item, and the answer depends on the inventory alone

    def run(self, terms, variables=None, **kwargs):
        key = (variables["inventory_hostname"], *terms)
        if key not in self.merged:
            self.merged[key] = self._merge(terms, variables)
        return [self.merged[key]]

    def _merge(self, terms, variables) -> dict[str, Any]:
        roles = Path(variables["playbook_dir"]).parent / "roles"
        self._templar.available_variables = variables
        merged: dict[str, Any] = {}
        for term in terms:
            role, _, part = term.partition("/")
            parts = self._loader.load_from_file(str(roles / role / "meta/publish.yml"), trusted_as_template=True)
            if (part or role) not in parts:
                raise AnsibleLookupError(f"roles/{role}/meta/publish.yml has no part {part or role!r}")
            for key, values in self._templar.template(parts[part or role]).items():
                if isinstance(values, dict):
                    services = merged.setdefault(key, {})
                    for service, ports in values.items():
                        _join(services.setdefault(service, []), ports)
                else:
                    _join(merged.setdefault(key, []), values)
        return merged


def _join(known: list, more: list) -> None:
    known.extend(value for value in more if value not in known)
