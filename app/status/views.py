"""The public status page. It needs no database, no Valkey and no session, and says so when it has no measurements."""

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from status.board import get_board
from status.model import Reading
from status.present import as_context, as_json

MAX_AGE_S = 15

# A thread of its own: drawing takes longer than the event loop should be busy, and one page serves everybody for long
_artist = ThreadPoolExecutor(max_workers=1, thread_name_prefix="status-page")
_drawn: dict[tuple[str, str], tuple[tuple[object, ...], bytes]] = {}


@require_safe
async def page(request: HttpRequest) -> HttpResponse:
    language = translation.get_language() or "en"
    body = await _draw("html", language, lambda reading: _html(reading, language))
    response = HttpResponse(body, headers={"Cache-Control": f"public, max-age={MAX_AGE_S}"})
    patch_vary_headers(response, ["Accept-Language", "Cookie"])  # the language's cookie
    return response


@require_safe
async def machine(request: HttpRequest) -> HttpResponse:
    """docs/status.md describes it, docs/status.schema.json is its schema."""
    body = await _draw("json", "en", _json)
    headers = {"Cache-Control": f"public, max-age={MAX_AGE_S}", "Access-Control-Allow-Origin": "*"}
    return HttpResponse(body, content_type="application/json", headers=headers)


def _json(reading: Reading) -> str:
    with translation.override("en"):
        return json.dumps(as_json(reading, at=time.time()), indent=1)


def _html(reading: Reading, language: str) -> str:
    with translation.override(language):
        # Without the request: context processors would ask who is there.
        return render_to_string("status/status.html", as_context(reading, at=time.time()))


async def _draw(kind: str, language: str, draw: Callable[[Reading], str]) -> bytes:
    """The page for what is known now; drawn again when that has changed, or after a minute."""
    reading = await get_board().read()
    known = [part and part.at for part in (reading.now, reading.history)]
    shows = (reading.freshness, *known, time.time() // 60)

    def drawn() -> bytes:
        last = _drawn.get((kind, language))
        if last is None or last[0] != shows:
            last = (shows, draw(reading).encode())
            _drawn[kind, language] = last
        return last[1]

    return await asyncio.get_running_loop().run_in_executor(_artist, drawn)
