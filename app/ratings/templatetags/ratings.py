from django import template

register = template.Library()


@register.filter
def difference(before: float, after: float) -> str:
    """What a match changed, as people see it: between the rounded ratings, with its sign."""
    change = round(after) - round(before)
    return f"{'−' if change < 0 else '+'}{abs(change)}"  # noqa: RUF001 - a minus, not a hyphen
