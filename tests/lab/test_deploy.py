"""One playbook makes a bare host the whole service, and does nothing when there is nothing to do."""

from tests.conftest import Check, Lab, recap


def test_check_mode_works_on_a_bare_host(virgin_check: Check) -> None:
    assert recap(virgin_check.output)["failed"] == 0


def test_check_mode_leaves_the_bare_host_alone(virgin_check: Check) -> None:
    assert virgin_check.after == virgin_check.before


def test_second_deploy_changes_nothing(site: Lab) -> None:
    again = recap(site.make("deploy"))
    assert (again["changed"], again["failed"]) == (0, 0)


def test_check_mode_on_the_deployed_host_reports_no_change(site: Lab) -> None:
    check = recap(site.make("deploy", "CHECK=1"))
    assert (check["changed"], check["failed"]) == (0, 0)


def test_plain_ansible_agrees(site: Lab) -> None:
    plain = recap(site.make("deploy", "STRATEGY=linear"))
    assert (plain["changed"], plain["failed"]) == (0, 0)


def test_verify_passes(site: Lab) -> None:
    site.make("verify")
