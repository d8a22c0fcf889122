"""A host that keeps itself in order: nothing has failed, updates come by themselves, the journal survives."""

import time

testinfra_hosts = ["ansible://all"]
UNITS = ["unattended-upgrades.service"]


def test_no_unit_has_failed(host):
    assert host.check_output("systemctl list-units --failed --plain --no-legend") == ""


def test_systemd_has_read_every_unit_as_it_is_on_disk(host):
    shown = host.check_output("systemctl show --property=Id,NeedDaemonReload '*'")
    assert [unit for unit in shown.split("\n\n") if "NeedDaemonReload=yes" in unit] == []


def test_host_finishes_booting(host):
    assert host.check_output("systemctl is-system-running --wait") == "running"


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
