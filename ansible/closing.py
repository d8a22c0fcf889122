"""The last lines of `make deploy` and its like: where the site serves, what changed and restarted, what comes next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from record import lines
from versions import checkout, words

TROUBLES = "docs/troubleshooting.md has the usual reasons, and what to do."
WORKERS = ("matchpoint-web@", "matchpoint-live@")


def closing(name: str, settings: Mapping[str, Any], told: Sequence[Mapping[str, Any]], *, code: int, took: int) -> str:
    """What to say of a target that changes a site.

    Args:
        name: of the target.
        settings: of the target, as they were said.
        told: what each of its playbooks told (ansible/plugins/callback/report.py).
        code: how the last one ended.
        took: seconds.
    """
    done = _joined([each["done"] for each in told])
    tasks = sum(sum(said["changed"].values()) for said in done.values())
    if settings.get("CHECK"):
        if code:
            return _stopped(name, told, [], would=True)
        summary = f"{tasks} task{'s' * (tasks != 1)} on {len(done)} host{'s' * (len(done) != 1)} would change something"
        above = "; WHAT WOULD BE DONE above is the summary" if tasks else ""
        return f"CHECK=1: nothing was changed. {summary if tasks else 'Nothing would change'}{above}."
    if code:
        return _stopped(name, told, lines(done))
    said = [f"make {name} took {took} s{'' if tasks else ' and had nothing to change'}.", *lines(done)]
    domain = next((each["domain"] for each in reversed(told) if each.get("domain")), "")
    if domain:
        is_whole = name == "deploy" and not (settings.get("LIMIT") or settings.get("TAGS"))
        said.append(f"  https://{domain}/ serves{f' version {words(checkout())}' if is_whole else ''}.")
    return "\n".join([*said, *_next(name, settings, done)])


def _next(name: str, settings: Mapping[str, Any], done: Mapping[str, Any]) -> list[str]:
    if name != "deploy":
        return []
    site = "".join(
        f" {setting}={settings[setting]}"
        for setting, usual in (("INVENTORY", "inventories/lab"), ("LAB", "matchpoint"))
        if settings.get(setting) and not str(settings[setting]).endswith(usual)
    )
    is_first = any(unit.startswith(WORKERS) for said in done.values() for unit in said["started"])
    found = [f"  Next: `make verify{site}` tests it, with a match through the public name."]
    if is_first:
        found.append(f"  Then: `make staff{site} NAME=you EMAIL=you@example.com`, and `make test-alert{site}`.")
    return found


def _stopped(name: str, told: Sequence[Mapping[str, Any]], done: Sequence[str], *, would: bool = False) -> str:
    failed = {host: task for each in told for host, task in each.get("failed", {}).items()}
    at = ", ".join(f"{host} at `{task}`" for host, task in failed.items())
    said = [f"make {name} stopped{f': {at}' if at else ''}. Why stands above."]
    if would or not done:
        said.append("  Nothing was changed.")
    else:
        said += [*done, f"  This stays. `make {name}` goes on from there, once what stopped it is mended."]
    return "\n".join([*said, f"  {TROUBLES}"])


def _joined(each: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """What several playbooks have done."""
    joined: dict[str, dict[str, Any]] = {}
    for done in each:
        for host, said in done.items():
            there = joined.setdefault(host, {key: type(value)() for key, value in said.items()})
            for role, count in said["changed"].items():
                there["changed"][role] = there["changed"].get(role, 0) + count
            for key in said.keys() - {"changed"}:
                there[key] += [one for one in said[key] if one not in there[key]]
    return joined
