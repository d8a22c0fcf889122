"""The real live tier between a directory, a database and players of the simulation, on one turned clock.

Everything that is left to chance comes from one seed: which faults, when, for how long, who plays how well.
"""

import asyncio
import logging
import os
import random
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from live.directory import Directory
from live.match.owner import MatchOwner
from live.records import FinishedMatch, MatchSpec, PlayerSpec
from live.worker.results import ResultWriter
from live.worker.worker import Worker
from tests.sim.invariants import Broken, Invariants
from tests.sim.loop import BEGIN, Process, SimClock, SimLoop
from tests.sim.player import Player
from tests.sim.valkey import HISTORY_S, Valkey, Wire, client

FAULTS_S: Final = 60.0  # of faults, from the first serve on
FAULT_EVERY_S: Final = 2.5
BEGUN_S: Final = 6.0  # by then every match is owned: nobody can restore one that a directory forgets before
CALM_S: Final = 240.0  # after the last fault every match has to come to its end
HEAL_S: Final = 8.0  # a directory that went back is told again within the next beats
RESTART_S: Final = (0.5, 5.0)


class Spool(ResultWriter):
    """The real writer; its files are as old as the turned clock has it. `is_full`: the disk refuses."""

    def __init__(self, spool: Path, save: Callable[[FinishedMatch], bool], clock: SimClock) -> None:
        super().__init__(spool, save, now=clock.epoch)
        self._pool.shutdown()  # the loop does its work
        self._clock = clock
        self.is_full = False

    def _keep(self, record: FinishedMatch) -> Path | None:
        if self.is_full:
            return None
        path = super()._keep(record)
        if path is not None:
            os.utime(path, (self._clock.epoch(), self._clock.epoch()))
        return path


class Host:
    """A machine with one live worker on it, which systemd starts again."""

    def __init__(self, world: "World", name: str) -> None:
        self.name = name
        self.world = world
        self.spool = world.folder / name
        self.skew = 0.0
        self.wire = Wire(world.rng, world.loop.time)
        self.lines: list[Any] = []
        self.worker: Worker | None = None
        self.process = Process(name)
        self.runs = 0

    def start(self) -> None:
        self.runs += 1
        self.process = Process(f"{self.name} run {self.runs}")
        self.process.skew = self.skew
        self.process.spawn(self._run())

    async def _run(self) -> None:
        clock = SimClock(self.process)
        directory = Directory(client(self.world.valkey, self.wire), now=clock.epoch)
        results = Spool(self.spool, self.world.save, clock)
        worker = Worker(
            self.name, directory=directory, results=results, clock=clock, rng=self.world.rng.random,
            release=f"r{self.runs}",
        )  # fmt: skip
        self.worker = worker
        self._watch(worker)
        await worker.start()

    def _watch(self, worker: Worker) -> None:
        """Whether it gives up only what another worker has, or has brought to its end."""
        lost = worker.lost

        def watched(owner: MatchOwner) -> None:
            if not self.world.is_known_over(owner.spec.id):
                self.world.invariants.dropped(owner.spec.id, owner.epoch, self.name)
            lost(owner)

        worker.lost = worker.ending._lost = watched  # type: ignore[method-assign]

    def kill(self) -> None:
        self.process.kill()
        self.worker = None
        lines, self.lines = self.lines, []
        for line in lines:
            line._travel("down", line._arrive, None)
        self.world.later(self.world.rng.uniform(*RESTART_S), self.start)

    def hang(self, seconds: float) -> None:
        process = self.process
        process.freeze()
        self.world.later(seconds, process.thaw)

    def roll(self) -> None:
        """A deploy: drain, stop, start."""
        if self.worker is not None and not self.worker.is_draining and not self.process.is_frozen:
            self.process.spawn(self._roll(self.worker, self.process))

    async def _roll(self, worker: Worker, process: Process) -> None:
        await worker.stop()
        if self.process is process:
            self.kill()

    def jump(self, seconds: float) -> None:
        self.skew += seconds
        self.process.skew = self.skew


class World:
    """Some hosts, one directory, one database, and matches between players."""

    def __init__(self, seed: int, folder: Path, *, matches: int, workers: int = 3) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.folder = folder
        self.loop = SimLoop(self.rng)
        self._count = matches
        self._workers = workers
        self.invariants = Invariants()
        self.database: dict[str, FinishedMatch] = {}
        self.database_away_until = 0.0
        self.hosts: dict[str, Host] = {}
        self.players: list[Player] = []
        self.matches: list[str] = []
        self.story: list[str] = []
        self._nature = Process("nature")
        self._quiet_until = 0.0
        self._away_until = 0.0

    # What the live tier stands on

    def save(self, record: FinishedMatch) -> bool:
        """As matches.services.match_finish: of two results that of the newer owner."""
        if self.loop.time() < self.database_away_until:
            if self.rng.random() < 0.3:
                self._store(record)  # committed, but the answer was lost
            raise ConnectionError("the database is away")
        return self._store(record)

    def _store(self, record: FinishedMatch) -> bool:
        older = self.database.get(record.spec.id)
        if older is not None and older.epoch >= record.epoch:
            return False
        self.database[record.spec.id] = record
        if self.rng.random() < 0.3:
            self.later(self.rng.uniform(0, 0.5), self._lose_the_last_second)
        self.invariants.stored(record)
        return older is None

    def is_known_over(self, match_id: str) -> bool:
        return match_id in self.database or f"mp:match:{match_id}:over" in self.valkey.data

    def later(self, seconds: float, call: Callable[..., None], *args: Any) -> None:
        self._nature.call_later(seconds, call, *args)

    # The run

    def run(self) -> None:
        """Play it all. Broken if an invariant does not hold; `story` tells what happened."""
        logging.disable(logging.CRITICAL)
        failures: list[BaseException] = []

        def failed(loop: Any, context: dict[str, Any]) -> None:
            if isinstance(context.get("exception"), BaseException):
                failures.append(context["exception"])
                loop.stop()

        self.loop.set_exception_handler(failed)
        asyncio.set_event_loop(self.loop)
        ids = random.Random(self.seed)
        try:
            with patch.object(secrets, "token_hex", lambda size: ids.randbytes(size).hex()):
                self.loop.run_until_complete(self.loop.create_task(self._live(), context=self._nature.context()))
        except RuntimeError as error:
            if not failures and self.invariants.broken is None:
                raise Broken(str(error)) from error
        finally:
            self.loop.end()
            asyncio.set_event_loop(None)
            logging.disable(logging.NOTSET)
            shutil.rmtree(self.folder, ignore_errors=True)
        if self.invariants.broken is not None:
            raise self.invariants.broken
        if failures:
            raise failures[0]

    async def _live(self) -> None:
        self.valkey = Valkey(self.loop.time, self._written)
        self._remember()
        self.pages = Directory(client(self.valkey, Wire(self.rng, self.loop.time)), now=self._epoch)
        for number in range(self._workers):
            host = self.hosts[f"{'abcdefg'[number]}-8101"] = Host(self, f"{'abcdefg'[number]}-8101")
            (host.spool / "0.json").mkdir(parents=True)  # what nobody can open must not hold up the others
            host.start()
        await asyncio.sleep(1)
        for number in range(self._count):
            await self._match(f"match{number}")
        await asyncio.sleep(2)
        self._plan_faults()
        await asyncio.sleep(FAULTS_S)
        self._tell("faults are over")
        self._heal()
        await self._until_all_ended()

    def _epoch(self) -> float:
        return BEGIN.timestamp() + self.loop.time()

    def _remember(self) -> None:
        self.valkey.remember()
        self.later(HISTORY_S, self._remember)

    async def _match(self, match_id: str) -> None:
        self.matches.append(match_id)
        identities = [f"g:{match_id}{letter}" for letter in "ab"]
        has_computer = self.rng.random() < 0.2
        computer = PlayerSpec(side=1, kind="ai", identity="ai:easy", name="Computer") if has_computer else None
        spec = MatchSpec(
            id=match_id,
            mode="ai" if has_computer else "friend",
            level="easy" if has_computer else None,
            points=self.rng.choice((3, 5, 7)),
            players=(PlayerSpec(0, "human", identities[0], "A"), computer),
            created_at=BEGIN.isoformat(),
        )
        await self.pages.matches.create(spec)
        for identity in identities[: 1 if has_computer else 2]:
            player = Player(self, match_id, identity, skill=self.rng.uniform(0.3, 0.9))
            self.players.append(player)
            player.start(self.rng.uniform(0, 2))
        if self.rng.random() < 0.5:
            watcher = Player(self, match_id, f"g:{match_id}w", skill=0)
            self.players.append(watcher)
            watcher.start(5)

    async def _until_all_ended(self) -> None:
        """What began ends, its players hear of it, and then the directory forgets it; all within a time."""
        deadline = self.loop.time() + CALM_S
        while self.loop.time() < deadline and self._left():
            await asyncio.sleep(1)
        for match_id in self.matches:
            self.invariants.ended(match_id)
        left = self._left()
        if left:
            raise Broken(left[0])

    def _left(self) -> list[str]:
        """What has not come to its end."""
        ours = [match_id for match_id in self.matches if match_id not in self.invariants.excused]
        return [
            *(f"{player.match_id}: {player.identity} never heard of its end"
              for player in self.players if player.match_id in ours and not player.is_done),
            *(f"{match_id}: over, and the directory still has it"
              for match_id in ours if self.valkey.find(f"mp:match:{match_id}:lease")),
            *(f"{match_id}: began and has no result" for match_id in ours
              if match_id in self.invariants.points and match_id not in self.database),
        ]  # fmt: skip

    # Faults

    def _tell(self, what: str) -> None:
        self.story.append(f"{self.loop.time():8.3f} {what}")

    def _plan_faults(self) -> None:
        t, end = 0.0, FAULTS_S
        while True:
            t += self.rng.expovariate(1 / FAULT_EVERY_S)
            if t > end - 5:
                return
            self.later(t, self._fault)

    def _fault(self) -> None:
        rng, now = self.rng, self.loop.time()
        name = rng.choice(list(self.hosts))
        host = self.hosts[name]
        kind = rng.choices(
            ("cut out", "cut back", "cut both", "slow", "away", "kill", "hang", "roll", "jump", "database", "disk",
             "rollback", "drop", "leave page", "poison", "burn", "isolate", "lose all", "quit"),
            (2, 2, 2, 2, 1, 2, 2, 2, 1, 2, 1, 3, 8, 3, 1, 1, 6, 3, 1),
        )[0]  # fmt: skip
        seconds = rng.choice((rng.uniform(0.2, 2), rng.uniform(2, 6), rng.uniform(4, 14)))
        if now < self._quiet_until and kind not in ("drop", "leave page", "database"):
            return  # a directory that went back and an owner that dies at once: that second may be lost
        match kind:
            case "cut out" | "cut back":
                host.wire.cut(kind.split()[1], seconds)
            case "cut both":
                host.wire.cut("out", seconds)
                host.wire.cut("back", seconds)
            case "slow":
                host.wire.slow_s = rng.uniform(0.05, 1.5)
                self.later(seconds, setattr, host.wire, "slow_s", 0.0)
            case "away":
                self.valkey.go()
                self._away_until = now + seconds  # workers look dead until they have renewed themselves
                self.later(seconds, setattr, self.valkey, "is_away", False)
            case "kill" if host.worker is not None:
                host.kill()
            case "isolate" if host.worker is not None:
                self._isolate(host, rng.uniform(3, 16))
            case "burn" if host.worker is not None:
                host.kill()
                shutil.rmtree(host.spool, ignore_errors=True)
            case "hang" if host.worker is not None:
                host.hang(seconds)
            case "roll":
                host.roll()
            case "jump":
                host.jump(rng.choice((-1, 1)) * rng.choice((0.5, 5, 60)))
            case "database":
                self.database_away_until = max(self.database_away_until, now + seconds * 2)
            case "disk" if host.worker is not None:
                host.worker.results.is_full = True  # type: ignore[attr-defined]
            case "rollback" if self._may_roll_back():
                self.valkey.roll_back(rng.uniform(0.2, 1.0))
                self._quiet_until = now + HEAL_S
            case "lose all" if self._may_roll_back() and self._are_all_owned():
                self.valkey.forget()
                self._quiet_until = now + HEAL_S
            case "quit":
                self._quit(rng.choice(self.matches), host)
            case "drop":
                rng.choice(self.players).lose()
            case "leave page":
                rng.choice(self.players).go_away(seconds)
            case "poison":
                self._poison()
            case _:
                return
        self._tell(f"{kind} {name} {seconds:.2f}")

    def _quit(self, match_id: str, host: Host) -> None:
        """All players of a match leave for good, and soon a worker dies, perhaps theirs: somebody has to end it."""
        if not any(player.identity == f"g:{match_id}b" for player in self.players):
            return  # the machine waits for longer than we do
        for player in self.players:
            if player.match_id == match_id:
                player.quit()
        self.later(self.rng.uniform(0, 2), self._kill, host)

    def _kill(self, host: Host) -> None:
        if host.worker is not None and self.loop.time() >= self._quiet_until:
            host.kill()

    def _isolate(self, host: Host, seconds: float) -> None:
        """The worker alone is cut off, and some of its players lose their sockets: they will be sent elsewhere."""
        for way in ("out", "back"):
            host.wire.cut(way, seconds)
        for player in self.players:
            if player.line is not None and player.line in host.lines and self.rng.random() < 0.5:
                self.later(self.rng.uniform(0, seconds), player.lose)

    def _written(self, key: str, value: str) -> None:
        self.invariants.written(key, value)
        if key.endswith(":lease") and self.rng.random() < 0.1:
            self.later(self.rng.uniform(0, 0.5), self._lose_the_last_second)

    def _lose_the_last_second(self) -> None:
        """What a directory that goes back does most harm with: an end, or who has a match."""
        now = self.loop.time()
        if max(self._quiet_until, BEGUN_S) <= now < FAULTS_S and self._may_roll_back():
            self.valkey.roll_back(self.rng.uniform(0.5, 1.0))
            self._quiet_until = now + HEAL_S
            self._tell("rollback after an end or a claim")

    def _may_roll_back(self) -> bool:
        now = self.loop.time()
        return not self.valkey.is_away and now >= self._away_until + HEAL_S and all(
            host.worker is not None and not host.process.is_frozen and not host.wire.slow_s
            and max(host.wire.cut_until.values()) < now - 5 and not host.worker.is_draining
            for host in self.hosts.values()
        )  # fmt: skip

    def _are_all_owned(self) -> bool:
        """Whether each match is in a living worker, or stored. What only the directory has is lost with it."""
        owned = {match_id for host in self.hosts.values() if host.worker is not None for match_id in host.worker.owners}
        return all(match_id in owned or match_id in self.database for match_id in self.matches)

    def _poison(self) -> None:
        """Something stored of a match cannot be read any more. Nothing is promised for it; for its neighbours it is."""
        key = self.rng.choice(sorted(self.valkey.find("mp:match:*")) or ["none"])
        if key != "none" and isinstance(self.valkey.data[key], bytes):
            self.valkey.data[key] = self.valkey.data[key][: len(self.valkey.data[key]) // 2] + b"\xc3\xa9"
            self.valkey.touch(key)
            self.invariants.excused.add(key.split(":")[2])

    def _heal(self) -> None:
        self.valkey.is_away = False
        for host in self.hosts.values():
            host.wire.slow_s = 0.0
            if host.worker is not None:
                host.worker.results.is_full = False  # type: ignore[attr-defined]


def simulate(seed: int, folder: Path, *, matches: int = 5) -> World:
    """Run the world of a seed; the world, for what it says. Broken, with the story, when an invariant does not hold."""
    world = World(seed, folder, matches=matches)
    try:
        world.run()
    except Exception as error:
        story = "\n".join(world.story)
        raise Broken(f"seed {seed}: {type(error).__name__}: {error}\n{story}") from error
    return world
