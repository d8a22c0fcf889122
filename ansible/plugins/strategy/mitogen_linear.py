"""Mitogen's strategy, found wherever Python finds Mitogen: its folder has another name in every environment."""

import ansible_mitogen.loaders
import ansible_mitogen.strategy

Linear = ansible_mitogen.loaders.strategy_loader.get("linear", class_only=True)


# Types: the second base is known at run time alone
class StrategyModule(ansible_mitogen.strategy.StrategyMixin, Linear):  # type: ignore[misc, valid-type]
    """Ansible's order of tasks over Mitogen's connections."""
