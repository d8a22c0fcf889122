"""Lets Mitogen compile each of Ansible's own files once a run, and not anew for every module that imports it."""

from __future__ import annotations

from functools import cache

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: quick_scan
type: aggregate
short_description: compile what modules import once
description:
  - Mitogen looks for the imports of each module, and of what it imports, by compiling all of it; the hosts wait
    meanwhile. Most of it is the same forty files.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "quick_scan"

    def __init__(self) -> None:
        super().__init__()
        try:
            from ansible_mitogen import module_finder
        except ImportError:  # it is optional
            return
        module_finder.compile = cache(compile)  # before it forks what scans
