"""How many matches one core carries: our live worker against rooms of others, in one run, with one load generator.

`make bench-matches` gives each server a core of its own and looks for the most matches at which an input is with both
players within 20 ms in 99 of 100 cases; the players (load.c) and the store have the other cores. Each try is a fresh
process: all sockets open, 4 s of play, 6 s measured. What the generator itself was late is measured as well: a try in
which it was is no try. Figures that belong together come from one round, and ratios are medians of the rounds'.

    make bench-matches ARGS="--rounds 1 --only worker node-ws"    # a quick look
    make bench-matches ARGS="--at 400 --only worker"              # no search: so many matches, as often as rounds
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tests.bench.matches.servers import CONTENDERS, OTHER_CORES, ROOMS, ROOT, Contender, Unusable, node, serving

STEP = 1.19  # from one try to the next: a sixth more
TRIES = 10  # of one search
REPEATS = 3  # of a try in which the generator was late
WARM_S, MEASURE_S = 4.0, 6.0
LOST_MAX = 0.005  # share of inputs
RATE_MIN = 0.9  # of the states that a room is to tell
GENERATOR_CPU = 0.9
GENERATOR_LAG_MS = 5.0  # 99th percentile
ORIGIN = "http://testserver"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Try:
    """A server under so many matches. Milliseconds, CPU-ms a match-second, kB a socket, messages a second a match."""

    matches: int
    is_held: bool
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    core: float
    socket_kb: float
    messages: float
    trouble: str

    def line(self, name: str) -> str:
        verdict = f"not held: {self.trouble}" if self.trouble else "held"
        return (
            f"{name:12s} {self.matches:5d} matches  p50 {self.p50_ms:6.1f}  p99 {self.p99_ms:6.1f} ms  "
            f"{self.cpu_ms:5.2f} CPU-ms  core {self.core:4.2f}  {self.socket_kb:5.1f} kB a socket  "
            f"{self.messages:5.1f} msg/s out  {verdict}"
        )


def main() -> None:
    options = argparse.ArgumentParser(prog="make bench-matches", description=__doc__.partition("\n")[0])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--only", nargs="+", choices=[each.name for each in CONTENDERS], metavar="NAME")
    options.add_argument("--at", type=int, help="matches; no search")
    chosen = options.parse_args()
    try:
        run(chosen.rounds, [each for each in CONTENDERS if not chosen.only or each.name in chosen.only], chosen.at)
    except Unusable as error:
        sys.exit(f"bench-matches: {error}")


def run(rounds: int, contenders: list[Contender], at: int | None) -> None:
    if not OTHER_CORES:
        raise Unusable("it takes two cores: one for the server, one for its players")
    print(versions())
    best: dict[str, list[Try]] = {each.name: [] for each in contenders}
    for _ in range(rounds):
        for contender in contenders:
            best[contender.name].append(attempt(contender, at) if at else search(contender))
    print(table(contenders, best))


def search(contender: Contender) -> Try:
    """The largest try that was held, between it and one a step larger that was not."""
    matches, held, failed = contender.begin, None, None
    for _ in range(TRIES):
        tried = attempt(contender, matches)
        if tried.is_held:
            held = tried
        else:
            failed = tried
        if held and failed:
            return held
        matches = round(matches * STEP) if tried.is_held else round(matches / STEP)
    if held is None:
        raise Unusable(f"{contender.name} holds not even {matches} matches on this machine")
    return held


def attempt(contender: Contender, matches: int) -> Try:
    """One try, once more when it was the generator that was late."""
    for _ in range(REPEATS):
        tried, excuse = measure(contender, matches)
        print(tried.line(contender.name) + (f"  (does not count: {excuse})" if excuse else ""), flush=True)
        if not excuse:
            break
    return tried


def measure(contender: Contender, matches: int) -> tuple[Try, str]:
    """What a server did under so many matches, and why that does not count, or nothing."""
    with serving(contender, matches) as (server, place):
        before = memory_kb(server.pid)
        with subprocess.Popen(
            ["taskset", "-c", ",".join(map(str, OTHER_CORES)), str(generator()), str(place.port), ORIGIN,
             str(place.seats), str(WARM_S), str(MEASURE_S), contender.flavour],
            stdout=subprocess.PIPE, text=True,
        ) as load:  # fmt: skip
            lines = said(load)
            cpu_s = -cpu_of(server.pid) if next(lines) == "measuring" else 0.0
            cpu_s += cpu_of(server.pid) if next(lines) == "measured" else 0.0
            socket_kb = (memory_kb(server.pid) - before) / (2 * matches)
            found = json.loads(next(lines))
    trouble = ""
    if found["opened"] < found["sockets"] or found["closed"]:
        trouble = f"{found['opened'] - found['closed']} of {found['sockets']} sockets stayed open"
    elif found["lost"] > LOST_MAX * found["inputs"]:
        trouble = f"{found['lost']} of {found['inputs']} inputs were lost"
    elif found["p99_ms"] > contender.limit_ms:
        trouble = f"p99 over {contender.limit_ms:.0f} ms"
    elif found["out_rate"] < RATE_MIN * 2 * contender.hz:
        trouble = f"{found['out_rate'] / 2:.0f} states a second instead of {contender.hz}"
    excuse = ""
    if found["own_cpu"] > GENERATOR_CPU or (trouble and found["own_lag_ms"] > GENERATOR_LAG_MS):
        excuse = f"the players were late themselves: {found['own_lag_ms']:.0f} ms, {found['own_cpu']:.2f} of a core"
    tried = Try(
        matches, not trouble, found["p50_ms"], found["p99_ms"], 1000 * cpu_s / MEASURE_S / matches, cpu_s / MEASURE_S,
        socket_kb, found["out_rate"], trouble,
    )  # fmt: skip
    return tried, excuse


def said(load: "subprocess.Popen[str]") -> Iterator[str]:
    assert load.stdout
    for line in load.stdout:
        yield line.strip()
    raise Unusable(f"the load generator ended with {load.wait()}")


def generator() -> Path:
    """load.c, compiled when it is newer than what was made of it."""
    source, program = Path(__file__).with_name("load.c"), ROOT / ".cache/bench/load"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["gcc", "-O2", "-Wall", "-o", str(program), str(source)], check=True)
    return program


def cpu_of(pid: int) -> float:
    """Seconds of processor that a process has used, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_kb(pid: int) -> int:
    """Its share of memory (PSS), without what the kernel keeps for its sockets."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def table(contenders: list[Contender], best: dict[str, list[Try]]) -> str:
    """Medians of the rounds, and the ratio to our worker in the same round."""
    lines = [
        "",
        "| server | matches held | of all rounds | worker to it | p99 ms | CPU-ms a match-second | kB a socket |",
    ]
    lines.append("|---|---|---|---|---|---|---|")
    for each in contenders:
        tries = best[each.name]

        def middle(what: str, tries: list[Try] = tries) -> float:
            return statistics.median(getattr(one, what) for one in tries)

        ours = best.get("worker", [])
        ratios = [mine.matches / other.matches for mine, other in zip(ours, tries, strict=False)]
        rounds = " ".join(str(one.matches) for one in tries)
        ratio = f"{statistics.median(ratios):.2f}" if ratios else "-"
        lines.append(
            f"| {each.about} | {middle('matches'):.0f} | {rounds} | {ratio} | {middle('p99_ms'):.1f} "
            f"| {middle('cpu_ms'):.2f} | {middle('socket_kb'):.1f} |"
        )
    return "\n".join([*lines, f"\nLoad of the machine at the end: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores."])


def versions() -> str:
    lock = json.loads((ROOMS / "package-lock.json").read_text())["packages"]
    theirs = [f"{name} {lock[f'node_modules/{name}']['version']}" for name in ("ws", "@colyseus/core")]
    packages = [f"{name} {version(name)}" for name in ("daphne", "twisted", "autobahn", "uvloop", "channels", "redis")]
    runs_on = subprocess.run([node(), "--version"], check=True, capture_output=True, text=True).stdout.strip()
    return f"Python {platform.python_version()}, {', '.join(packages)}; Node {runs_on}, {', '.join(theirs)}"


if __name__ == "__main__":
    main()
