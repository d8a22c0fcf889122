"""The packages of the live servers stand on each other in one order."""

import ast
from pathlib import Path

LIVE = Path(__file__).parents[3] / "app/live"
ORDER = (
    "clock",
    "metrics",
    "events",
    "records",
    "obituary",
    "protocol",
    "match",
    "directory",
    "worker",
    "transport",
    "bot",
)
LINES_MAX = 400


def imported(path: Path) -> set[str]:
    """The parts of `live` that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"live.{alias.name}" for alias in node.names} if node.module == "live" else {str(node.module)}
            found |= names
    return {name.split(".")[1] for name in found if name.startswith("live.")}


def test_a_package_knows_only_those_below_it() -> None:
    files = [path for path in LIVE.rglob("*.py") if path != LIVE / "__init__.py"]
    parts = {path: path.relative_to(LIVE).parts[0].removesuffix(".py") for path in files}
    assert set(parts.values()) == set(ORDER)
    upward = [
        f"{path.relative_to(LIVE)}: {other}"
        for path, part in parts.items()
        for other in imported(path)
        if ORDER.index(other) > ORDER.index(part)
    ]
    assert not upward
    assert not [path.name for path in files if len(path.read_text().splitlines()) > LINES_MAX]
