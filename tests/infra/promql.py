"""Questions to the Prometheus of a deployed host, many in one round trip."""

import json
import re
import shlex
from typing import Any

# Runs on the host: reads a list of API paths, prints the list of answers
ASK = """
import json, sys, urllib.request
print(json.dumps([json.load(urllib.request.urlopen(path, timeout=20)) for path in json.load(sys.stdin)]))
"""


def listening(host: Any) -> str:
    """The API's address on this host; it is the private address when there are several hosts."""
    flags = host.file("/etc/default/prometheus").content_string
    found = re.search(r"--web\.listen-address=(\S+)", flags)
    assert found, flags
    return f"http://{found[1]}/api/v1/"


def ask(host: Any, *paths: str) -> list[Any]:
    """The ``data`` of each API call, e.g. ``targets`` or ``query?query=up``."""
    api = listening(host)
    request = json.dumps([api + path for path in paths])
    answer = host.run(f"printf %s {shlex.quote(request)} | python3 -c {shlex.quote(ASK)}")
    assert answer.rc == 0, answer.stderr
    return [one["data"] for one in json.loads(answer.stdout)]


def is_broken(text: str) -> bool:
    """Whether an annotation is one whose template failed: Prometheus sends it nevertheless, and says so inside."""
    return any(mark in text for mark in ("error expanding template", "<no value>", "{{"))
