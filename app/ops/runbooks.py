"""Runbooks: Markdown files of the release, as pages. Nothing but the disk of this host is needed to read one."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML

_NAME = re.compile(r"[A-Z][A-Za-z0-9]+")
_KINDS = {"check": "Check: changes nothing", "fix": "Fix: changes something"}


@dataclass(frozen=True, slots=True)
class Runbook:
    """One file: what is between the `---` lines, and the text below."""

    name: str
    facts: dict[str, str]
    text: str

    @property
    def severities(self) -> list[str]:
        """Page, ticket, or both; the file may say in a sentence when which."""
        return [each for each in ("page", "ticket") if each in self.severity.split()]

    @property
    def severity(self) -> str:
        return self.facts.get("severity", "")

    @property
    def component(self) -> str:
        return self.facts.get("component", "")

    @property
    def dashboard(self) -> str:
        """The path of its dashboard in Grafana."""
        return f"/ops/grafana/d/{self.facts['dashboard']}" if self.facts.get("dashboard") else ""

    @property
    def summary(self) -> str:
        """Its first paragraph: what players see."""
        for block in self.text.split("\n\n"):
            if block.strip() and not block.lstrip().startswith(("#", "```", "|", "-")):
                return re.sub(r"[`*]", "", " ".join(block.split()))
        return ""

    def html(self) -> SafeString:
        """The text below its title, with commands to copy and links to the other runbooks."""
        body = re.sub(r"\A\s*# .*\n", "", self.text)
        rendered = _markdown().render(body, {"runbooks": set(runbook_names()) - {self.name}})
        return mark_safe(rendered)  # noqa: S308 - HTML is off there, and what it renders is escaped


def _parse(path: Path) -> Runbook:
    text = path.read_text(encoding="utf-8")
    facts: dict[str, str] = {}
    if text.startswith("---\n"):
        head, _, text = text[4:].partition("\n---\n")
        facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in head.splitlines())}
    return Runbook(path.stem, facts, text)


def runbook_names() -> list[str]:
    return sorted(path.stem for path in Path(settings.RUNBOOKS_DIR).glob("*.md") if _NAME.fullmatch(path.stem))


def runbook_get(name: str) -> Runbook | None:
    path = Path(settings.RUNBOOKS_DIR) / f"{name}.md"
    return _parse(path) if _NAME.fullmatch(name) and path.is_file() else None


def runbook_search(words: str) -> list[Runbook]:
    """Those that have all the words somewhere, in name, facts or text; every one for no words."""
    found = []
    for name in runbook_names():
        runbook = runbook_get(name)
        if runbook is None:
            continue
        haystack = f"{name} {' '.join(runbook.facts.values())} {runbook.text}".lower()
        if all(word in haystack for word in words.lower().split()):
            found.append(runbook)
    return found


def _fence(self: RendererHTML, tokens: Any, index: int, options: Any, env: Any) -> str:
    """A command: `sh check` only looks, `sh fix` changes something; the page says which."""
    token = tokens[index]
    kind = token.info.partition(" ")[2]
    caption = f'<figcaption class="command-kind">{_KINDS[kind]}</figcaption>' if kind in _KINDS else ""
    name = f"command command-{kind}" if kind in _KINDS else "command"
    code = f"<pre><code>{escape(token.content.rstrip())}</code></pre>"
    return f'<figure class="{name}">{caption}{code}</figure>\n'


def _text(self: RendererHTML, tokens: Any, index: int, options: Any, env: Any) -> str:
    """Plain text, in which the name of another runbook is a link to it."""
    parts = re.split(r"\b([A-Z][A-Za-z0-9]+)\b", tokens[index].content)
    return "".join(
        f'<a href="/ops/runbooks/{part}">{part}</a>' if part in env["runbooks"] else escape(part) for part in parts
    )


def _table_open(self: RendererHTML, tokens: Any, index: int, options: Any, env: Any) -> str:
    return '<div class="table-scroll"><table class="table">\n'


def _table_close(self: RendererHTML, tokens: Any, index: int, options: Any, env: Any) -> str:
    return "</table></div>\n"


def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.add_render_rule("fence", _fence)
    markdown.add_render_rule("text", _text)
    markdown.add_render_rule("table_open", _table_open)
    markdown.add_render_rule("table_close", _table_close)
    return markdown
