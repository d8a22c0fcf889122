"""What the documents tell somebody to type, read out of them as they stand."""

import re
from pathlib import Path


class Page:
    """A page of Markdown."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._text = path.read_text()

    def section(self, heading: str) -> str:
        """The text beneath a heading, with its own sections."""
        found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,2}} |\Z)", self._text, re.MULTILINE | re.DOTALL)
        assert found, f"{self.name} has no heading '{heading}'"
        return found[2]

    def block(self, heading: str, *, with_word: str = "make") -> list[str]:
        """The commands of the first block beneath a heading that has the word, without remarks."""
        blocks = re.findall(r"^```sh\n(.*?)^```|((?:^    [^\n]+\n)+)", self.section(heading), re.MULTILINE | re.DOTALL)
        for block in map("".join, blocks):
            lines = [re.sub(r"\s+#.*", "", line).strip() for line in block.splitlines()]
            if with_word in block:
                return [line for line in lines if line]
        raise AssertionError(f"{self.name} has no commands with '{with_word}' beneath '{heading}'")

    def row(self, heading: str, task: str) -> list[str]:
        """The commands in the row of a table that is about a task."""
        for line in self.section(heading).splitlines():
            first, *others = [cell.strip() for cell in line.strip("|").split("|")]
            if first == task:
                return re.findall(r"`([^`]+)`", " ".join(others))
        raise AssertionError(f"{self.name} has no row '{task}' beneath '{heading}'")
