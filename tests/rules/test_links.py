"""Alert, runbook and dashboard find each other, in every direction."""

import re

import yaml

from tests.drills.model import faults
from tests.every import every
from tests.rules.model import ROOT, RUNBOOKS, Alert, alerts, code_blocks, dashboards, panels

SECTIONS = [
    "What players see",
    "Is it real?",
    "Most likely causes",
    "If it is none of these",
    "Silence",
    "How this alert is tested",
]

WATCHED = r"Watched by ([^.]*)\."


@every(alerts())
def test_alert_links_a_runbook_and_a_dashboard_that_exist(alert: Alert) -> None:
    site = "https://{{ $externalLabels.site }}"
    assert alert.annotations["runbook_url"] == f"{site}/ops/runbooks/{alert.name}"
    assert alert.name in {path.stem for path in RUNBOOKS}
    link = re.fullmatch(
        re.escape(site) + r"/ops/grafana/d/([a-z0-9-]+)/[a-z-]+(\?var-host=\{\{ \$labels\.host \}\})?",
        alert.annotations["dashboard_url"],
    )
    assert link, alert.annotations["dashboard_url"]
    assert link[1] in dashboards()


@every(RUNBOOKS, name=lambda path: path.stem)
def test_runbook_belongs_to_an_alert_and_has_all_sections(path) -> None:
    text = path.read_text()
    front = yaml.safe_load(text.split("---")[1])
    about = [alert for alert in alerts() if alert.name == path.stem]
    assert about, "no alert leads here"
    assert front["alert"] == path.stem
    assert front["component"] in {alert.labels["component"] for alert in about}
    assert all(alert.labels["severity"] in front["severity"] for alert in about)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    assert f"\n# {path.stem}\n" in text, "mails point to this heading"


@every((path for path in RUNBOOKS if path.stem != "Watchdog"), name=lambda path: path.stem)
def test_runbook_names_a_panel_that_names_its_alert(path) -> None:
    front = yaml.safe_load(path.read_text().split("---")[1])
    named = [panel for panel in panels(dashboards()[front["dashboard"]]) if panel["title"] == front["panel"]]
    assert named, "no such panel"
    watched = " ".join(found for panel in named for found in re.findall(WATCHED, panel["description"]))
    assert re.search(rf"\b{path.stem}\b", watched), f"the panel {front['panel']} is not watched by it"


@every(alerts())
def test_alert_leads_to_the_dashboard_of_its_runbook(alert: Alert) -> None:
    (path,) = [path for path in RUNBOOKS if path.stem == alert.name]
    front = yaml.safe_load(path.read_text().split("---")[1])
    assert (
        f"/d/{front['dashboard']}/{front['dashboard'].removeprefix('matchpoint-')}"
        in alert.annotations["dashboard_url"]
    )


@every(RUNBOOKS, name=lambda path: path.stem)
def test_runbook_has_commands_to_look_with_before_commands_that_change(path) -> None:
    text = path.read_text()
    assert code_blocks(text.split("## Most likely causes")[0], "check")
    assert not code_blocks(text.split("## Most likely causes")[0], "fix")
    assert len(re.findall(r"^```", text, re.MULTILINE)) % 2 == 0
    changing = (
        r"systemctl (start|stop|restart|reload)|make deploy|certbot renew(?! --dry)|silence add|vacuumdb|vacuum-|VACUUM"
    )
    for block in code_blocks(text, "check"):
        assert not re.search(changing, block), f"a check that changes something: {block}"


@every(RUNBOOKS, name=lambda path: path.stem)
def test_runbook_names_the_drills_of_its_alert(path) -> None:
    of_it = {fault.name for fault in faults() if path.stem in {kind.alert for kind in (*fault.kinds, *fault.late)}}
    assert set(re.findall(r"make drill NAME=([a-z-]+)", path.read_text())) == of_it


def test_panels_name_alerts_that_exist() -> None:
    names = {alert.name for alert in alerts()}
    for board in dashboards().values():
        for panel in panels(board):
            for watched in re.findall(WATCHED, panel["description"]):
                assert set(re.findall(r"[A-Z][A-Za-z]+", watched)) <= names, panel["title"]


@every([*RUNBOOKS, ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
def test_commands_of_make_in_the_documents_exist(path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", path.read_text(), re.MULTILINE)) <= targets
