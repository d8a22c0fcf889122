"""A host that keeps itself in order: nothing has failed, updates come by themselves, the journal survives."""

import json
import time

import pytest

testinfra_hosts = ["ansible://all"]
UNITS = ["unattended-upgrades.service"]


def test_no_unit_has_failed(host):
    assert host.check_output("systemctl list-units --failed --plain --no-legend") == ""


def test_systemd_has_read_every_unit_as_it_is_on_disk(host):
    shown = host.check_output("systemctl show --property=Id,NeedDaemonReload '*'")
    assert [unit for unit in shown.split("\n\n") if "NeedDaemonReload=yes" in unit] == []


def test_host_finishes_booting(host):
    assert host.check_output("systemctl is-system-running --wait") == "running"


def test_host_knows_what_the_site_wrote(host):
    """So that what is turned off can be taken away: each file with its role, and no file that is not there."""
    files = json.loads(host.check_output("cat /var/lib/misc/matchpoint-manifest/files.json"))
    assert {"base", "firewall", "exporters"} <= set(files.values())
    listed = " ".join(f"'{path}'" for path in files)
    assert host.check_output(f"for path in {listed}; do [ -e $path ] || echo $path; done") == ""


def test_security_updates_come_by_themselves_and_reboots_do_not(host):
    settings = host.check_output("apt-config dump --format '%f=%v%n' APT::Periodic Unattended-Upgrade")
    assert "APT::Periodic::Unattended-Upgrade=1" in settings
    assert "APT::Periodic::Update-Package-Lists=1" in settings
    assert "Unattended-Upgrade::Automatic-Reboot=false" in settings
    for timer in ("apt-daily.timer", "apt-daily-upgrade.timer", "logrotate.timer"):
        assert host.service(timer).is_running, timer


def test_journal_survives_a_reboot_and_is_bounded(host):
    assert "/var/log/journal/" in host.check_output("journalctl --header | grep -m1 'File path'")
    assert host.check_output("systemd-analyze cat-config systemd/journald.conf | grep -E '^SystemMaxUse='")


def test_clock_is_right(host):
    before = time.time()
    there = float(host.check_output("date +%s.%N"))
    assert before - 5 <= there <= time.time() + 5


def test_no_package_is_half_installed(host):
    assert host.check_output("dpkg --audit") == ""


def test_sshd_lets_nobody_in_without_a_key(host, facts):
    if not host.file("/etc/ssh/sshd_config.d/10-matchpoint.conf").exists:
        pytest.skip("base_sshd is false: sshd is left alone")
    said = dict(line.split(" ", 1) for line in host.check_output("sshd -T").splitlines() if " " in line)
    assert (said["passwordauthentication"], said["kbdinteractiveauthentication"]) == ("no", "no")
    assert said["permitrootlogin"] == ("no" if facts["ansible_user"] not in ("", "root") else "without-password")
    assert int(said["maxauthtries"]) <= 6
    assert host.run("systemctl is-active matchpoint-sshd-undo.timer").stdout.strip() == "inactive"
    assert not host.file("/run/matchpoint-sshd-unproven").exists


def test_no_two_database_hosts_are_upgraded_in_one_night(host, facts, public):
    days = host.check_output("systemctl show --property=TimersCalendar --value apt-daily-upgrade.timer")
    assert facts["base_upgrade_days"] in days
    databases = [each["base_upgrade_days"] for each in public.hosts.values() if "db" in each["group_names"]]
    assert len({*databases}) == len(databases)


def test_the_kernel_follows_nobody_else(host):
    for name in ("all.accept_redirects", "all.send_redirects", "all.accept_source_route"):
        assert host.sysctl(f"net.ipv4.conf.{name}") == 0, name
