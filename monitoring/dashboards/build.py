"""Writes the dashboards as the JSON files that Grafana is provisioned with: ``python -m monitoring.dashboards.build``.

The files are committed, so that hosts need no builder; `tests/rules` asserts that they are what this makes.
"""

import json
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from monitoring.dashboards import game, hosts, http, oncall, overview, postgres, slo, valkey

FOLDER = Path(__file__).parent
DASHBOARDS = {
    "overview": overview.dashboard,
    "game": game.dashboard,
    "http": http.dashboard,
    "hosts": hosts.dashboard,
    "postgres": postgres.dashboard,
    "valkey": valkey.dashboard,
    "slo": slo.dashboard,
    "oncall": oncall.dashboard,
}


def render(name: str) -> str:
    """The dashboard ``name`` as JSON, the same for the same source."""
    board: Any = DASHBOARDS[name]().build()
    return json.dumps(board, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def main() -> None:
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(render(name))


if __name__ == "__main__":
    main()
