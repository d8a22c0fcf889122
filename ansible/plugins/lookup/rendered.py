"""A role's templates, rendered: what `write_files` writes."""

from __future__ import annotations

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible.template import trust_as_template

DOCUMENTATION = """
name: rendered
short_description: the text that a template of the role becomes
description:
  - Like C(ansible.builtin.template), which makes a deep copy of all variables for every file. A role renders many, on
    every host.
  - Options beside the terms are variables of the template.
options:
  _terms:
    description: paths below C(templates/)
    required: true
"""


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        templar = self._templar.copy_with_new_env(
            available_variables={"ansible_managed": "Ansible managed", **variables, **kwargs}
        )
        return [templar.template(self._read(variables, term), escape_backslashes=False) for term in terms]

    def _read(self, variables, term) -> str:
        path = self.find_file_in_search_path(variables, "templates", term)
        if path is None:
            raise AnsibleLookupError(f"there is no template {term} in the role")
        return trust_as_template(self._loader.get_text_file_contents(path))
