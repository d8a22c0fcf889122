import hashlib
from typing import Any

from django import template

register = template.Library()


@register.filter
def difference(before: float, after: float) -> str:
    """What a match changed, as people see it: between the rounded ratings, with its sign."""
    change = round(after) - round(before)
    return f"{'−' if change < 0 else '+'}{abs(change)}"  # noqa: RUF001 - a minus, not a hyphen


@register.inclusion_tag("ratings/avatar.html")
def avatar(public_id: str) -> dict[str, Any]:
    """A picture of half-random squares, mirrored: the same for the same account, and no upload to look after."""
    digest = hashlib.sha256(public_id.encode()).digest()
    columns = [[row for row in range(5) if digest[column * 5 + row] % 2] for column in range(3)]
    cells = {(x, row) for column, rows in enumerate(columns) for row in rows for x in (column, 4 - column)}
    path = "".join(f"M{3 + 5 * x} {3 + 5 * y}h5v5h-5z" for x, y in sorted(cells))
    return {"path": path, "hue": digest[16] * 360 // 256}
