"""What to do with the database hosts, from what each was found to be: for a deploy, a promotion and a rejoin.

Each filter takes host name -> state as module `postgres_state` returns it (None or without C(state) for a host that did
not answer), in the order of the inventory. Where something must stop the run, `faults` says so, with the way out.
"""

from __future__ import annotations

from typing import Any

UNIT = "postgresql@17-main"
LOG = "/var/log/postgresql/postgresql-17-main.log"

State = dict[str, Any] | None
States = dict[str, State]


def kind(state: State) -> str:
    """unknown | silent | fresh | primary | standby | fenced | stopped standby | stopped | broken."""
    if not state or "state" not in state:
        return "unknown"
    if state["state"] == "silent":
        return "silent"
    if state["state"] == "missing" and not state["is_virgin"]:
        return "broken"
    if state["state"] == "standby" or (state["state"] == "primary" and not state["is_virgin"]):
        return str(state["state"])
    if state["state"] == "stopped" and (state["is_masked"] or state["superseded"]):
        return "fenced"
    if state["is_virgin"]:
        return "fenced" if state["is_masked"] else "fresh"
    return "stopped standby" if state["is_standby_by_file"] else "stopped"


def kinds(states: States) -> dict[str, str]:
    """The kind of each host; what a host that did not answer is, its peers may know."""
    found = {name: kind(state) for name, state in states.items()}
    for state in states.values():
        for name, answer in ((state or {}).get("peers") or {}).items():
            if found.get(name) == "unknown" and answer.get("answers"):
                found[name] = "primary" if answer["is_primary"] else "standby"
    return found


def timeline(states: States, name: str) -> int:
    own = states.get(name) or {}
    seen = [((state or {}).get("peers") or {}).get(name, {}).get("timeline", 0) for state in states.values()]
    return int(own.get("timeline") or max(seen, default=0))


def describe(states: States, name: str) -> str:
    """One host in a few words, for a sentence that names them all."""
    state, what = states.get(name) or {}, kinds(states)[name]
    words = {
        "unknown": "did not answer",
        "silent": f"runs PostgreSQL, which does not answer ({LOG} there says why)",
        "fresh": "has an empty cluster",
        "primary": f"is a primary (timeline {timeline(states, name)})",
        "standby": f"is a standby (timeline {timeline(states, name)})",
        "fenced": "was superseded" if state.get("superseded") and not state.get("is_masked") else "is fenced (masked)",
        "stopped standby": "is a stopped standby",
        "stopped": "is stopped, with data of its own",
        "broken": "has incomplete data",
    }
    return f"{name} {words[what]}"


def every(states: States) -> str:
    return ", ".join(describe(states, name) for name in states)


def two_primaries(states: States, primaries: list[str]) -> str:
    oldest = min(primaries, key=lambda name: timeline(states, name))
    return (
        f"There are {len(primaries)} primaries: {every(states)}. Each takes writes that the other never sees. The old "
        f"one has the lowest timeline: stop it with `systemctl mask --now {UNIT}` on {oldest}, then make it the "
        f"standby with `make rejoin HOST={oldest}`."
    )


def deploy_faults(states: States) -> list[str]:
    found = kinds(states)
    primaries = [name for name, what in found.items() if what == "primary"]
    silent = [name for name, what in found.items() if what == "silent"]
    odd = [f"{name}: {state['fault']}." for name, state in states.items() if (state or {}).get("fault")]
    if odd:
        return odd
    if silent:
        return [f"{describe(states, name)}." for name in silent]
    if len(primaries) > 1:
        return [two_primaries(states, primaries)]
    if primaries:
        return follower_faults(states, found, primaries[0])
    return headless_faults(states, found)


def follower_faults(states: States, found: dict[str, str], primary: str) -> list[str]:
    """What is wrong with the hosts beside the one primary."""
    faults = []
    system = (states.get(primary) or {}).get("system")
    for name, what in found.items():
        other = (states.get(name) or {}).get("system")
        if what == "stopped":
            faults.append(
                f"{describe(states, name)}, while {primary} is the primary: make it a standby with "
                f"`make rejoin HOST={name}`, or keep it as it is with `systemctl mask {UNIT}` on {name}."
            )
        elif what in ("standby", "stopped standby") and system and other and other != system:
            faults.append(
                f"{name} is a standby of another cluster than that of {primary}: make it one of {primary} with "
                f"`make rejoin HOST={name}`."
            )
    return faults


def headless_faults(states: States, found: dict[str, str]) -> list[str]:
    """What is wrong where nobody is a primary; a site that is new, or a single host that is down, is in order."""
    if set(found.values()) == {"fresh"}:
        return []
    if len(found) == 1:
        name, what = next(iter(found.items()))
        if what == "stopped":
            return []
        if what == "unknown":
            return [f"{describe(states, name)}."]
        if what == "fenced":
            if why := (states[name] or {}).get("superseded"):
                return [f"PostgreSQL of {name} must not start: {why}. docs/database.md tells how it may all the same."]
            return [f"PostgreSQL of {name} is masked. `systemctl unmask {UNIT}` on {name} lets it start."]
        return [
            f"{describe(states, name)}, and no other database host is in the inventory: put the old primary back "
            "into it and run `make promote`."
        ]
    if set(found.values()) == {"fresh", "unknown"}:
        return [
            f"{every(states)}: whether the site's data are there can't be told, so no new database is made. "
            "Run over all database hosts."
        ]
    ways = []
    for name, what in found.items():
        if what == "stopped":
            ways.append(f"start the primary with `systemctl start {UNIT}` on {name}")
        elif what == "unknown":
            ways.append(f"bring {name} back")
    if {"standby", "stopped standby"} & set(found.values()):
        ways.append("make the standby the primary with `make promote`")
    elif "fenced" in found.values() and not ways:
        ways.append(f"`systemctl unmask {UNIT}` and start it on the one that was the primary last")
    return [f"No database takes writes: {every(states)}. Either " + ", or ".join(ways) + "."]


def postgres_plan(states: States, name: str) -> dict[str, Any]:
    """What a deploy does on a host: C(role) primary | standby | fenced, C(action) start | clone | none, C(faults)."""
    found = kinds(states)
    faults = deploy_faults(states)
    primary = next((host for host, what in found.items() if what == "primary"), next(iter(states)))
    what = found[name]
    if name == primary:
        role, action = "primary", "start"
    elif what == "fenced":
        role, action = "fenced", "none"
    else:
        role, action = "standby", "clone" if what == "fresh" else "start"
    note = f"{describe(states, name)}: left alone. `make rejoin HOST={name}` makes it the standby of {primary}."
    return {
        "role": role,
        "action": action,
        "primary": primary,
        "faults": faults,
        "note": note if role == "fenced" else "",
    }


def postgres_new(states: States, witnesses: list[str]) -> list[str]:
    """Why a deploy must not make a new, empty database by itself: what says that the site has had one.

    C(witnesses) are sentences without a full stop, of other hosts, of the store, and of whatever could not be asked.
    """
    if set(kinds(states).values()) != {"fresh"}:
        return []
    kept = [
        f"{name} has old data in {path}" for name, state in states.items() for path in (state or {}).get("kept", [])
    ]
    if not witnesses and not kept:
        return []
    return [
        f"{every(states)}, so this would make a new, empty database, and the accounts, results and matches of the site "
        f"would be missing from it. It has had one: {'; '.join(kept + witnesses)}. If its host is still there, give "
        "it its line under db back (to move the database, add the new host as a second one: it becomes a standby, and "
        "`make promote FENCE=1` switches). If it is lost, `NEW_DATABASE=1` makes an empty one, and `make restore` puts "
        "the backup into it. If nothing of the old one is wanted, `NEW_DATABASE=1` alone."
    ]


def postgres_promotion(states: States, fence: bool = False, confirm: str = "") -> dict[str, Any]:
    """What C(make promote) does: C(stop) and C(mask) host C(old), promote host C(standby); or why not: C(faults)."""
    found = kinds(states)
    plan: dict[str, Any] = {"standby": "", "old": "", "stop": False, "mask": False, "faults": [], "advice": ""}
    reached = {name for name, state in states.items() if kind(state) != "unknown"}
    standbys = [name for name in states if found[name] == "standby" and name in reached]
    primaries = [name for name in states if found[name] == "primary"]
    if len(primaries) > 1:
        return plan | {"faults": [two_primaries(states, primaries)]}
    hidden = [name for name in states if found[name] == "standby" and name not in reached]
    if not standbys and hidden:
        return plan | {"faults": [f"{hidden[0]} is a standby, but did not answer over SSH in time: try again."]}
    if not standbys:
        if primaries and primaries[0] in reached:
            others = ", ".join(name for name in states if name != primaries[0]) or "nobody"
            return plan | {
                "faults": [
                    f"{primaries[0]} is the primary already, and no standby runs beside it ({every(states)}); "
                    f"`make rejoin HOST=...` makes one of {others}."
                ]
            }
        return plan | {"faults": [f"There is no running standby to promote: {every(states)}."]}
    standby = max(standbys, key=lambda name: position(states[name]))
    others = [name for name in states if name != standby and found[name] != "standby"]
    old = next(iter(others), "")
    plan |= {"standby": standby, "old": old}
    receiver = (states[standby] or {}).get("receiver") or {}
    if not old:
        if receiver.get("streams") or receiver.get("hears"):
            plan["faults"] = [
                f"{standby} receives from a primary that is no host of this inventory, and that would go on serving: "
                "give it its line back, under db, and run `make promote FENCE=1`."
            ]
        return plan
    if old not in reached:
        plan["faults"] = unreachable_faults(states, found, standby, old, confirm, receiver)
        plan["advice"] = (
            f"Should {old} come back, it finds out and stays down; `make rejoin HOST={old}` makes it the standby."
        )
        return plan
    plan |= {"mask": True, "advice": f"{old} is masked; `make rejoin HOST={old}` makes it the standby."}
    if found[old] == "silent":
        plan["faults"] = [f"{describe(states, old)}: stop it first with `systemctl mask --now {UNIT}` on {old}."]
    elif found[old] == "primary":
        plan["stop"] = True
        if not fence:
            plan["faults"] = [
                f"{old} still serves (timeline {timeline(states, old)}); two primaries would lose writes. "
                "A planned switch stops and masks it first: `make promote FENCE=1`."
            ]
        elif not receiver.get("streams"):
            plan["faults"] = [
                f"{old} serves, and {standby} does not stream from it, so a planned switch would lose what {standby} "
                f"lacks. `make rejoin HOST={standby}` first."
            ]
    elif confirm != old and is_behind(states[standby], states[old]):
        plan["faults"] = [
            f"{old} is stopped and has written up to {(states[old] or {})['lsn']}; {standby} has received up to "
            f"{receiver.get('received_lsn')} only, so the rest would be lost. Start {old} (`systemctl unmask {UNIT}`, "
            f"`systemctl start {UNIT}` there) until {standby} has it; if it may be lost: `make promote CONFIRM={old}`."
        ]
    return plan


def is_behind(standby: State, old: State) -> bool:
    """Whether an old primary, which is down, has records that the standby has not received."""
    if not standby or not old or not old.get("lsn") or old["is_virgin"] or old["is_standby_by_file"]:
        return False
    is_same = old.get("system") == standby.get("system") and old.get("timeline") == standby.get("timeline")
    return is_same and not postgres_received(standby, old["lsn"])


def unreachable_faults(
    states: States, found: dict[str, str], standby: str, old: str, confirm: str, receiver: dict[str, Any]
) -> list[str]:
    """Why an old primary that SSH does not reach may not be given up."""
    if found[old] == "primary":
        return [
            f"{old} does not answer over SSH, but its PostgreSQL answers {standby} as a primary: it still serves. "
            "Switch it off, or mend SSH and run `make promote FENCE=1`."
        ]
    if receiver.get("hears"):
        return [
            f"{old} does not answer over SSH, but {standby} still receives from it: it still serves. "
            "Switch it off, or mend SSH and run `make promote FENCE=1`."
        ]
    if confirm != old:
        typed = f", which CONFIRM={confirm} does not name" if confirm else ""
        return [
            f"{old} did not answer over SSH{typed}, so whether it still serves can't be told from here. Look "
            f"(console, provider, power switch); when it is off: `make promote CONFIRM={old}`."
        ]
    return []


def position(state: State) -> tuple[int, int]:
    """How far a standby has got: timeline and received position."""
    receiver = (state or {}).get("receiver") or {}
    return int((state or {}).get("timeline") or 0), lsn_bytes(receiver.get("received_lsn"))


def lsn_bytes(lsn: str | None) -> int:
    """A position of the write-ahead log, C(16/B374D848), as a number of bytes."""
    high, _, low = (lsn or "0/0").partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def postgres_received(state: State, lsn: str) -> bool:
    """Whether a standby has received the record at a position."""
    receiver = (state or {}).get("receiver") or {}
    return lsn_bytes(receiver.get("received_lsn")) > lsn_bytes(lsn)


def postgres_rejoin(states: States, target: str) -> dict[str, Any]:
    """What C(make rejoin) does: copy C(primary), C(keep) the target's old data or not; or why not: C(faults)."""
    plan: dict[str, Any] = {"primary": "", "keep": False, "faults": []}
    if target not in states:
        hosts = " or ".join(f"`make rejoin HOST={name}`" for name in states)
        return plan | {"faults": [f"HOST={target} is no database host of this inventory; did you mean {hosts}?"]}
    found = kinds(states)
    primaries = [name for name, what in found.items() if what == "primary"]
    receiver = (states[target] or {}).get("receiver") or {}
    if len(primaries) > 1:
        return plan | {"faults": [two_primaries(states, primaries)]}
    if target in primaries:
        return plan | {"faults": [f"{target} is the primary ({every(states)}): nothing to rejoin."]}
    if not primaries or kind(states[primaries[0]]) == "unknown":
        return plan | {"faults": [f"There is no primary that answers, which could be copied: {every(states)}."]}
    if found[target] in ("unknown", "silent") or "state" not in (states[target] or {}):
        return plan | {"faults": [f"{describe(states, target)}: it must answer first."]}
    if receiver.get("streams"):
        return plan | {
            "faults": [f"{target} already streams from {primaries[0]}, {receiver['lag_bytes']} bytes behind."]
        }
    return plan | {"primary": primaries[0], "keep": not has_nothing_new(states[target], states[primaries[0]])}


def has_nothing_new(state: State, primary: State) -> bool:
    """Whether all that a cluster has is in the primary as well: it was empty, or a standby that is not ahead."""
    if not state or not primary or state["is_virgin"]:
        return True
    if not state["is_standby_by_file"] or state.get("system") != primary.get("system"):
        return False
    reached = (state.get("receiver") or {}).get("received_lsn") or state.get("lsn")
    is_later = int(state.get("timeline") or 0) > int(primary.get("timeline") or 0)
    return not is_later and lsn_bytes(reached) <= lsn_bytes(primary.get("lsn"))


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {
            "postgres_plan": postgres_plan,
            "postgres_new": postgres_new,
            "postgres_promotion": postgres_promotion,
            "postgres_rejoin": postgres_rejoin,
            "postgres_received": postgres_received,
        }
