"""Checkpoints of many matches in one call to Valkey, which judges each of them by itself.

Every point of every match is stored before it is told. A transaction for each costs this process three round trips;
one script for all that came up in the last milliseconds costs it one, and a twentieth of the processor time.
"""

import asyncio
from collections.abc import Awaitable
from typing import Final, NamedTuple, cast

from redis.exceptions import ResponseError

from live.directory.model import Fenced, NoSuchMatch
from live.directory.store import MATCH_SECONDS, Store, dump, match_key, worker_key
from live.records import Checkpoint

UNKNOWN: Final = -1  # what is stored, if anything: the whole timeline takes its place
ATTEMPTS: Final = 3  # of a checkpoint, by what Valkey says it has
# Four keys a match: its spec, lease, snapshot and timeline. Six arguments each: epoch, worker, version, the version
# that is taken to be stored, the snapshot, and the events between the two. The lease is judged as Lease.holds does. The
# answer to each is a word, or the version that is stored instead. Whatever fails is the fault of what is stored of
# this one match. Before them stands the key that counts the calls of this worker, and its count.
SCRIPT: Final = """
local seconds = ARGV[1]

local function keep(spec, lease, snapshot, timeline, epoch, worker, version, known, header, events)
  local stored_epoch, holder = string.match(redis.call('GET', lease) or '', '^(%d+):(.*)$')
  local newest = tonumber(stored_epoch) or 0
  if newest == 0 then return 'forgotten' end
  if newest > epoch or (newest == epoch and holder ~= '' and holder ~= worker) then return 'fenced' end
  local header_before, stored = redis.call('GET', snapshot), 0
  if header_before then
    stored = tonumber(string.match(header_before, '^{"version":(%d+),.*}$')) or -1
    if stored >= version then return 'kept' end
  end
  if known == -1 then
    redis.call('DEL', timeline)
  elseif known ~= stored then
    return stored
  end
  if events ~= '' then redis.call('RPUSH', timeline, events) end
  redis.call('SET', snapshot, header, 'EX', seconds)
  for _, key in ipairs({spec, lease, timeline}) do redis.call('EXPIRE', key, seconds) end
  return 'kept'
end

local answers = {redis.call('INCR', KEYS[1])}
redis.call('EXPIRE', KEYS[1], seconds)
for i = 1, (#KEYS - 1) / 4 do
  local k, a = 4 * i - 2, 6 * i - 4
  local is_done, answer = pcall(keep, KEYS[k], KEYS[k + 1], KEYS[k + 2], KEYS[k + 3],
    tonumber(ARGV[a]), ARGV[a + 1], tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3]), ARGV[a + 4], ARGV[a + 5])
  answers[i + 1] = is_done and answer or -1
end
return answers
"""


class Save(NamedTuple):
    """A checkpoint that waits for the next call; `known` is the version that is taken to be stored."""

    match_id: str
    worker: str
    epoch: int
    checkpoint: Checkpoint
    known: int
    answer: "asyncio.Future[str | int]"


class Checkpoints:
    """The checkpoints of this process. Those that come within `tick_s` travel together."""

    def __init__(self, store: Store, *, tick_s: float) -> None:
        self._script = store.client.register_script(SCRIPT)
        self._tick_s = tick_s
        self.calls = 0  # that Valkey has counted of this worker: it went back when it has counted fewer
        self._due: list[Save] = []
        self._running: set[asyncio.Task[None]] = set()

    async def keep(self, match_id: str, *, worker: str, epoch: int, checkpoint: Checkpoint, known: int) -> None:
        """Store a checkpoint, unless it or a newer one is stored. Only events after version `known` travel.

        Fenced, NoSuchMatch; redis' errors.
        """
        for _ in range(ATTEMPTS):
            match await self._asked(match_id, worker, epoch, checkpoint, known):
                case "kept":
                    return
                case "fenced":
                    raise Fenced(match_id)
                case "forgotten":
                    raise NoSuchMatch(match_id)
                case int(known):
                    pass
        raise ResponseError(f"the checkpoint of {match_id} cannot be stored")

    async def _asked(self, match_id: str, worker: str, epoch: int, checkpoint: Checkpoint, known: int) -> str | int:
        if not self._due:
            call = asyncio.create_task(self._call(), name="checkpoints")
            self._running.add(call)
            call.add_done_callback(self._running.discard)
        answer: asyncio.Future[str | int] = asyncio.get_running_loop().create_future()
        self._due.append(Save(match_id, worker, epoch, checkpoint, known, answer))
        return await answer

    async def _call(self) -> None:
        await asyncio.sleep(self._tick_s)
        saves, self._due = [save for save in self._due if not save.answer.done()], []
        if not saves:
            return
        try:
            keys = [worker_key(saves[0].worker, "calls")]
            arguments: list[int | str | bytes] = [MATCH_SECONDS]
            for save in saves:
                keys += [match_key(save.match_id, part) for part in ("", "lease", "snapshot", "timeline")]
                arguments += _arguments(save)
            calls, *answers = await cast("Awaitable[list[str | int]]", self._script(keys=keys, args=arguments))
        except Exception as error:
            for save in saves:
                if not save.answer.done():
                    save.answer.set_exception(error)
            return
        self.calls = int(calls)
        for save, answer in zip(saves, answers, strict=True):
            if not save.answer.done():
                save.answer.set_result(answer)


def _arguments(save: Save) -> list[int | str | bytes]:
    checkpoint, version = save.checkpoint, save.checkpoint.state["version"]
    fresh = checkpoint.timeline.json(max(save.known, 0)) if version > save.known else b""
    return [save.epoch, save.worker, version, save.known, dump(checkpoint.header()), fresh]
