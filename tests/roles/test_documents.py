"""What the pages tell people to type is there, and takes what they say."""

import re

from tests.roles.test_full_disk import load
from tests.rules.model import ROOT

operate = load("ansible/operate.py")
PAGES = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("monitoring/runbooks/*.md"), *ROOT.glob("certs/*.md")]


def commands(text: str) -> list[str]:
    """The commands of `make` on a page, in its blocks and in its lines."""
    blocks = re.findall(r"^ *```sh.*?\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return re.findall(r"`(make [^`]+)`", text) + [line for line in lines if line.startswith("make ")]


def test_commands_of_the_pages_are_known_with_their_settings() -> None:
    makefile = (ROOT / "Makefile").read_text()
    there = {name for line in re.findall(r"^([a-z][a-z -]*):(?!=)", makefile, re.MULTILINE) for name in line.split()}
    unknown, count = set(), 0
    for page in PAGES:
        for command in commands(page.read_text()):
            name = command.split()[1]
            said = re.findall(r"\s([A-Z][A-Z_]+)=", command.partition("#")[0].partition("ARGS=")[0])
            taken = set(said)
            if target := operate.TARGETS.get(name):
                count += 1
                taken = {*operate.COMMON_TEXTS, *operate.COMMON_SWITCHES, *target.texts, *target.switches}
                taken |= target.knows | ({"CHECK"} if target.reads else set())
            if name not in there or [each for each in said if each not in taken and not each.startswith("MATCHPOINT_")]:
                unknown.add(f"{page.name}: {command}")
    assert not unknown
    assert count > 100, "and the commands are found"
