"""Loads once what every task would load anew: Ansible runs each task in a process of its own, forked from this one."""

from __future__ import annotations

import gc
from functools import cache

from ansible.plugins import loader
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: preload
type: aggregate
short_description: load once what every task needs
description:
  - What a task's process loads is gone with it. Plugins for templates and connections are loaded before the first fork,
    so that all tasks have them.
  - Mitogen looks for the imports of each module, and of what it imports, by compiling all of it, and for the folders of
    all collections; the hosts wait meanwhile. Most of it is the same forty files, and always the same folders.
"""

# Of filters and tests, one that is asked for loads all
PLUGINS = {
    loader.filter_loader: ["combine", "community.general.dict_kv"],
    loader.test_loader: ["defined"],
    loader.lookup_loader: ["config", "env", "file", "fileglob", "pipe", "published", "rendered", "vars"],
    loader.connection_loader: ["ssh", "local"],
    loader.become_loader: ["sudo"],
    loader.shell_loader: ["sh"],
}


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "preload"

    def __init__(self) -> None:
        super().__init__()
        try:
            from ansible_mitogen import module_finder
        except ImportError:  # it is optional
            return
        from ansible.collections import list as collections

        # Its `get` only adds the same deprecation to every run (docs/decisions: Mitogen stays optional)
        strategies = loader.strategy_loader
        strategies.get = lambda *of, **how: strategies.get_with_context(*of, **how).object

        module_finder.compile = cache(compile)  # before it forks what scans
        folders = list(collections.list_collection_dirs())
        collections.list_collection_dirs = lambda: folders

    def v2_playbook_on_start(self, playbook) -> None:  # which has added the plugins of its roles
        for plugins, names in PLUGINS.items():
            for name in names:
                plugins.get(name, class_only=True)

    def v2_playbook_on_play_start(self, play) -> None:
        # Else a collection in a task's process would touch, and so copy, all of this one's memory
        gc.collect()
        gc.freeze()
