"""Every alert has a fault that fires it, and what judges the drills judges right."""

import json
from pathlib import Path

import pytest
import yaml

from tests import processes
from tests.drills import __main__ as drills
from tests.drills import model, profile, report
from tests.drills.board import Notice, from_mail, from_pager
from tests.drills.drill import PRELUDE, Outcome, strangers
from tests.drills.model import Fault, Kind, due, faults, kinds, noise, seconds, unproven
from tests.every import every
from tests.rules.model import TEMPLATES, role_template, run

MEASURED_AS_PROMISED = {"PostgresDown", "ValkeyDown", "NginxDown", "AppDown", "LiveDown", "SiteDown"}


def drilled() -> set[Kind]:
    return {kind for fault in faults() for kind in (*fault.kinds, *fault.late)}


@every(kind for kind in kinds() if kind.severity == "page")
def test_every_page_has_a_fault(kind: Kind) -> None:
    assert kind in drilled(), f"add a fault to tests/drills/faults that fires {kind}"


@every(kind for kind in kinds() if kind.severity == "ticket")
def test_every_ticket_has_a_fault_or_a_reason(kind: Kind) -> None:
    assert (kind in drilled()) != (str(kind) in unproven()), (
        f"{kind} needs a fault in tests/drills/faults, or a reason in _unproven.yml, and not both"
    )


def test_nine_of_ten_tickets_have_a_fault() -> None:
    tickets = [kind for kind in kinds() if kind.severity == "ticket"]
    assert len([kind for kind in tickets if kind in drilled()]) >= 0.9 * len(tickets)


def test_alerts_without_a_fault_exist_and_say_why() -> None:
    assert {*unproven(), *noise()} <= {str(kind) for kind in kinds()}
    assert not any("page" in kind for kind in noise())
    assert all(len(reason) > 20 for reason in unproven().values())


@every(faults(), name=lambda fault: fault.name)
def test_fault_is_made_and_mended_and_names_alerts_that_exist(fault: Fault) -> None:
    assert fault.inject or fault.inject_here
    assert fault.repair or fault.repair_here
    assert fault.silence or fault.kinds
    assert {*fault.kinds, *fault.late} <= set(kinds())
    assert set(fault.company) <= {kind.alert for kind in kinds()}
    assert all(len(reason) > 10 for reason in fault.company.values())
    functions = [f"f{n}() {{\n:\n{text}\n}}\n" for n, text in enumerate((fault.setup, fault.inject, fault.repair))]
    done = processes.run(["sh", "-n"], stdin="".join(functions))
    assert done.returncode == 0, done.stderr


def test_names_of_faults_are_not_used_twice() -> None:
    names = [fault.name for fault in faults()]
    assert len(names) == len(set(names))


def test_services_are_stopped_with_true_timings() -> None:
    promised = {alert for fault in faults() if fault.is_true and fault.promise <= 120 for alert in fault.page}
    assert promised >= MEASURED_AS_PROMISED


def test_prelude_is_good_shell() -> None:
    done = processes.run(["sh", "-n"], stdin=PRELUDE)
    assert done.returncode == 0, done.stderr


# Which lab


def test_every_fault_is_drilled_once_on_a_lab_with_its_topology_and_timings() -> None:
    made = drills.parts(faults(), quiet=True)
    assert sorted(fault.name for part in made for fault in part.faults) == sorted(fault.name for fault in faults())
    assert [part.lab for part in made if part.is_quiet_run] == ["drills"]
    for part in made:
        assert len({(fault.topology, fault.is_true) for fault in part.faults}) == 1, part.lab


def test_one_lab_cannot_have_the_faults_of_two_topologies() -> None:
    with pytest.raises(ValueError, match="the lab mine can have one topology"):
        drills.parts(faults(), quiet=False, lab="mine")


# The profile


@pytest.mark.parametrize(
    ("true", "made"),
    [
        ("rate(a_total[5m]) > 5 * 3600", "rate(a_total[60s]) > 5 * 3600"),
        ("rate(a_total[1m])", "rate(a_total[1m])"),
        ("rate(a_total[10m])", "rate(a_total[120s])"),
        ("predict_linear(a[6h], 4*3600)", "predict_linear(a[180s], 4*3600)"),
        ("max_over_time(a[3d:5m])", "max_over_time(a[2160s:30s])"),
        ("a offset 7d == 0", "a offset 5040s == 0"),
        ('a{b="[5m]x"}', 'a{b="[60s]x"}'),  # nobody names a label so; said here so that nobody wonders
    ],
)
def test_profile_looks_back_less(true: str, made: str) -> None:
    assert profile.expression(true) == made


@pytest.mark.parametrize(("true", "made"), [("45s", "45s"), ("1m", "1m"), ("3m", "30s"), ("1d", "30s")])
def test_profile_waits_less(true: str, made: str) -> None:
    assert profile.patience(true) == made


def test_profile_changes_nothing_but_times(tmp_path: Path) -> None:
    profile.write(tmp_path)
    done = run("promtool", "check", "rules", *sorted((tmp_path / "rules").glob("*.yml")))
    assert done.returncode == 0, done.stdout + done.stderr
    for made_path in (tmp_path / "rules").glob("*.yml"):
        true_rules, made_rules = (
            [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
            for path in (Path(profile.RULES) / made_path.name, made_path)
        )
        assert len(true_rules) == len(made_rules)
        for true, made in zip(true_rules, made_rules, strict=True):
            timeless = {"expr", "for", "keep_firing_for"}
            assert {k: v for k, v in true.items() if k not in timeless} == {
                k: v for k, v in made.items() if k not in timeless
            }
            assert all(seconds(made[k]) <= seconds(true[k]) for k in timeless - {"expr"} if k in true)


def test_profile_is_put_on_hosts_by_settings_of_the_roles(tmp_path: Path) -> None:
    settings = json.loads(profile.write(tmp_path).read_text())
    known = {
        name
        for role in ("prometheus", "alertmanager")
        for name in yaml.safe_load((profile.RULES.parents[1] / "roles" / role / "defaults/main.yml").read_text())
    }
    assert set(settings) <= known


# What is heard


def rendered(tmp_path: Path, status: str, *alerts: tuple[str, str, str]) -> str:
    """The text of a mail about alerts, {name, status, host}."""
    site = role_template("alertmanager", "etc/prometheus/alertmanager_templates/site.tmpl")
    (tmp_path / "site.tmpl").write_text(site)
    (tmp_path / TEMPLATES[0].name).write_text(TEMPLATES[0].read_text())
    times = {"startsAt": "2026-01-02T03:04:05Z", "endsAt": "2026-01-02T03:14:05Z"}
    annotations = dict.fromkeys(("summary", "description", "impact", "runbook_url", "dashboard_url"), "Said.")
    data = {
        "status": status,
        "alerts": [
            {
                "status": each,
                "labels": {"alertname": name, "host": host, "severity": "ticket"},
                "annotations": annotations,
            }
            | times
            for name, each, host in alerts
        ],
        "commonLabels": {"severity": "ticket"},
        "externalURL": "https://pong.example.com",
    }
    (tmp_path / "data.json").write_text(json.dumps(data))
    done = run(
        "amtool", "template", "render", f"--template.glob={tmp_path}/*.tmpl",
        f"--template.data={tmp_path}/data.json", '--template.text={{ template "matchpoint.mail" . }}',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_tickets_are_read_from_mails(tmp_path: Path) -> None:
    text = rendered(tmp_path, "firing", ("TargetDown", "firing", "app1"), ("HostDown", "resolved", "app2"))
    heard = from_mail({"subject": "[TICKET] Said.", "body": text, "at": 7.0})
    assert heard == [
        Notice(Kind("TargetDown", "ticket"), False, 7.0, "app1", "mail"),
        Notice(Kind("HostDown", "ticket"), True, 7.0, "app2", "mail"),
    ]
    assert all(notice.counts for notice in heard)


def test_a_page_by_mail_is_heard_and_not_measured(tmp_path: Path) -> None:
    text = rendered(tmp_path, "firing", ("SiteDown", "firing", "edge1"))
    (heard,) = from_mail({"subject": "[PAGE] Said.", "body": text, "at": 7.0})
    assert heard == Notice(Kind("SiteDown", "page"), False, 7.0, "edge1", "mail")
    assert not heard.counts


@pytest.mark.parametrize("severity", ["page", "ticket"])
def test_the_end_of_a_ticket_is_not_that_of_the_page_of_the_same_name(tmp_path: Path, severity: str) -> None:
    text = rendered(tmp_path, "resolved", ("SocketConnectBurn", "resolved", ""))
    (heard,) = from_mail({"subject": f"[RESOLVED {severity.upper()}] Said.", "body": text, "at": 7.0})
    assert heard == Notice(Kind("SocketConnectBurn", severity), True, 7.0, "", "mail")
    assert heard.counts == (severity == "ticket")


def test_a_mail_about_no_alert_is_not_heard() -> None:
    assert from_mail({"subject": "Confirm your address", "body": "Hello\n", "at": 7.0}) == []


def test_pages_are_read_from_the_pager() -> None:
    alerts = [
        {"status": "firing", "labels": {"alertname": "SiteDown", "host": "edge1"}},
        {"status": "resolved", "labels": {"alertname": "SiteDown", "host": "edge2"}},
    ]
    assert from_pager({"at": 7.0, "body": {"alerts": alerts}}) == [
        Notice(Kind("SiteDown", "page"), False, 7.0, "edge1"),
        Notice(Kind("SiteDown", "page"), True, 7.0, "edge2"),
    ]


# Who is to blame


def outcome(name: str, began: float, ended: float, **more: object) -> Outcome:
    return Outcome(Fault(name, name, **more), began, ended=ended)  # type: ignore[arg-type]


def notice(alert: str, severity: str, at: float) -> Notice:
    return Notice(Kind(alert, severity), False, at, "mp1")


def test_a_notification_that_no_fault_explains_fails_all_that_were_there() -> None:
    first = outcome("first", 0, 10, page=("SiteDown",), company={"TargetDown": "it has no exporter any more"})
    second = outcome("second", 5, 15, ticket=("HostDown",))
    third = outcome("third", 20, 30, page=("AppDown",))
    heard = [notice("SiteDown", "page", 6), notice("TargetDown", "ticket", 8), notice("AppDown", "page", 7)]
    assert strangers([first, second, third], heard) == heard[2:]
    assert first.heard == {Kind("TargetDown", "ticket"): 8}
    assert first.faults == second.faults == ["AppDown (page) of mp1 came as well"]
    assert third.faults == []


def test_the_ticket_of_a_burnt_promise_may_come_again() -> None:
    burnt = outcome("burnt", 0, 10, page=("SocketConnectBurn",), wake=("SocketConnectBurn",))
    later = outcome("later", 20, 30, ticket=("HostDown",))
    assert not strangers([burnt, later], [notice("SocketConnectBurn", "ticket", 25)])
    assert strangers([burnt, later], [notice("SocketConnectBurn", "page", 25)])


def test_what_the_machine_may_cause_at_any_time_is_no_stranger_between_drills_either() -> None:
    assert not strangers([outcome("one", 0, 10)], [notice("HostOomKill", "ticket", 15)])
    assert strangers([outcome("one", 0, 10)], [notice("HostOomKill", "page", 15)])


def test_an_alert_of_another_severity_is_a_stranger() -> None:
    one = outcome("one", 0, 10, ticket=("HostDiskAlmostFull",))
    assert strangers([one], [notice("HostDiskAlmostFull", "page", 5)])
    assert one.faults


def test_every_page_and_nine_of_ten_tickets_were_heard_and_ended_or_are_due() -> None:
    proven = report.proven(report.load()) | {kind for name in due() for kind in report.named(name).kinds}
    assert not [str(kind) for kind in kinds() if kind.severity == "page" and kind not in proven]
    tickets = [kind for kind in kinds() if kind.severity == "ticket"]
    assert len([kind for kind in tickets if kind in proven]) >= 0.9 * len(tickets), report.missing(report.load())


def test_every_drill_was_of_the_present_fault_and_rules_or_is_due() -> None:
    stale = set(report.stale(report.load()))
    assert not stale - set(due()), f"make drill NAME='{' '.join(stale)}', and commit what it writes"
    assert not set(due()) - stale, "they were run, and are not due any more"
    assert all(len(reason) > 10 for reason in due().values())


def test_basis_of_a_drill_is_the_rule_with_all_that_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    def basis_with(**changed: str) -> str:
        every = [
            {"record": "deep", "expr": changed.get("deep", "sum(a)")},
            {"record": "job:errors", "expr": "deep * 2"},
            {"alert": "SiteDown", "expr": "job:errors > 1", "labels": {"severity": "page"}, "annotations": changed},
            {"alert": "AppDown", "expr": changed.get("other", "b"), "labels": {"severity": "page"}},
        ]
        monkeypatch.setattr(model, "rules", lambda: every)
        return model.basis(Fault("one", changed.get("title", "One"), page=("SiteDown",), inject=changed.get("do", "")))

    before = basis_with()
    assert basis_with(title="The same in other words", other="c") == before
    assert len({before, basis_with(deep="sum(b)"), basis_with(do="true")}) == 3


def test_the_matrix_in_the_documentation_is_what_was_measured() -> None:
    assert report.PAGE.read_text() == report.render(report.PAGE.read_text(), report.load())


def test_the_quiet_run_paged_nobody() -> None:
    steps = report.load()["quiet"]["steps"]
    assert len(steps) == 5
    assert {step["pages"] for step in steps} == {"none"}
