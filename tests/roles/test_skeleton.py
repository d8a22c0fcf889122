"""Every role keeps the same promises: documented, typed, few settings, no knowledge of other roles."""

import re
import sys
from itertools import pairwise
from pathlib import Path

import yaml

from tests.every import every
from tests.processes import run

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
ROLE = every(ROLES, name=lambda role: role.name)
GROUPS = ("db", "cache", "app", "edge", "monitor")


def load(path):
    return yaml.safe_load(path.read_text()) if path.exists() else None


def specs(role):
    return load(role / "meta/argument_specs.yml")["argument_specs"]


def options(role):
    """All settings of a role; those of the site and of hosts, which preflight documents, are no role's."""
    entries = [spec.get("options", {}) for name, spec in specs(role).items() if name not in ("settings", "hosts")]
    return {name: option for entry in entries for name, option in entry.items()}


def texts(role, *folders):
    return {path: path.read_text() for folder in folders for path in sorted((role / folder).rglob("*.yml"))}


@ROLE
def test_settings_are_the_documented_ones(role):
    defaults = load(role / "defaults/main.yml") or {}
    required = {name for name, option in options(role).items() if option.get("required")}
    assert set(options(role)) == set(defaults) | required
    assert not required & set(defaults)


@ROLE
def test_settings_are_few_and_carry_the_name_of_the_role(role):
    assert len(options(role)) <= 15
    assert all(name.startswith(f"{role.name}_") for name in options(role))


@ROLE
def test_every_setting_has_a_type_and_a_description_to_the_leaf(role):
    def check(settings):
        for name, option in settings.items():
            assert option.get("type"), name
            assert option.get("description"), name
            assert option["type"] != "list" or option.get("elements"), name
            check(option.get("options", {}))

    for spec in specs(role).values():
        check(spec.get("options", {}))


@ROLE
def test_secrets_are_not_logged(role):
    for name, option in options(role).items():
        if re.search(r"_(password|secret)s?$", name):
            assert option.get("no_log") is True, name


@ROLE
def test_defaults_are_commented(role):
    """One by one, or as a group under one comment."""
    lines = (role / "defaults/main.yml").read_text().splitlines() if (role / "defaults/main.yml").exists() else []
    for above, line in pairwise(lines):
        if re.match(r"[a-z]\w+:", line):
            assert above not in ("", "---"), f"{line} has no comment above it"


@ROLE
def test_no_facts_in_defaults_and_specs(role):
    for path in (role / "defaults/main.yml", role / "meta/argument_specs.yml"):
        assert "ansible_facts" not in (path.read_text() if path.exists() else "")


@ROLE
def test_role_reads_no_settings_of_another_role_and_names_no_group(role):
    others = "|".join(other.name for other in ROLES if other != role)
    for path, text in texts(role, "tasks", "handlers", "vars", "defaults").items():
        found = re.findall(r"\{[{%].*?[%}]\}|(?:when|that|until): [^\n]*", text, re.DOTALL)
        expressions = re.sub(r"'[^']*'", "", " ".join(found))
        assert not re.findall(rf"(?<![\w.])_*(?:{others})_[a-z]\w*", expressions), path
        if role.name != "preflight":  # it checks the shape of the inventory
            assert not re.search(rf"groups(\.|\[['\"])({'|'.join(GROUPS)})\b", text), path


@ROLE
def test_what_is_published_is_well_formed(role):
    published = load(role / "meta/publish.yml")
    assert published
    for part in published.values():
        assert set(part) <= {"packages", "preseed", "public", "offers", "direct", "needs", "units", "timers",
                             "sysusers", "reaches", "bounded", "scrape", "probes", "takes", "signs",
                             "disk"}  # fmt: skip


@ROLE
def test_timers_are_published(role):
    """`make remove-host` stops what is published."""
    published = {timer for part in load(role / "meta/publish.yml").values() for timer in part.get("timers", [])}
    assert published >= {path.name.removesuffix(".j2") for path in role.rglob("*.timer*") if path.is_file()}


@ROLE
def test_role_needs_no_other_role(role):
    assert not load(role / "meta/main.yml").get("dependencies")


@ROLE
def test_no_shell_no_lineinfile_no_ignored_errors(role):
    for path, text in texts(role, "tasks", "handlers").items():
        assert not re.search(r"builtin\.(shell|raw|lineinfile|replace|blockinfile)\b|ignore_errors", text), path


@ROLE
def test_templates_say_who_owns_the_file(role):
    exempt = {".acl.j2", ".json.j2"}  # formats without comments
    for path in (role / "templates").rglob("etc/**/*.j2"):
        if not any(path.name.endswith(ending) for ending in exempt):
            assert "ansible_managed" in path.read_text(), path


def test_role_docs_are_up_to_date():
    done = run([sys.executable, ROOT / "ansible/role_docs.py", "--check"])
    assert done.returncode == 0, done.stdout


@ROLE
def test_effects_are_of_settings_that_there_are(role):
    """What a change does to what runs; each setting has one."""
    said = load(role / "meta/effects.yml")
    assert set(said) <= {"usually", "but"}
    named = [name for names in said.get("but", {}).values() for name in names]
    known = {name for spec in specs(role).values() for name in spec.get("options", {})}
    assert set(named) <= known
    assert len(named) == len(set(named))


@ROLE
def test_settings_of_a_command_line_restart_the_service(role):
    said = load(role / "meta/effects.yml")
    for path in (role / "templates/etc/default").glob("*.j2"):
        for name in set(re.findall(rf"\b{role.name}_\w+", path.read_text())) & set(options(role)):
            effect = next((text for text, names in said.get("but", {}).items() if name in names), said["usually"])
            assert effect.startswith("restarts "), f"{path} has {name}, and {effect}"


def test_nobody_reads_a_setting_that_was_removed():
    removed = load(ROOT / "roles/preflight/vars/main.yml")["__preflight_removed"]
    name = re.compile(rf"(?<!\w)({'|'.join(removed)})(?!\w)")
    paths = [path for folder in ("roles", "ansible", "inventories") for path in sorted((ROOT / folder).rglob("*"))]
    texts = {path: path.read_text() for path in paths if path.suffix in (".yml", ".j2") and path.is_file()}
    found = {path: set(name.findall(text)) for path, text in texts.items()}
    found.pop(ROOT / "roles/preflight/vars/main.yml")  # where they are refused
    assert {str(path): names for path, names in found.items() if names} == {}
