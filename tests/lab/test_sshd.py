"""An sshd that would let nobody in any more is taken back while somebody is in."""

import re

import pytest

from tests.conftest import Lab, poll
from tests.processes import run

OURS = "/etc/ssh/sshd_config.d/10-matchpoint.conf"
OTHER = "/etc/ssh/sshd_config.d/00-other.conf"
# A mistake that waits for the next reload. It goes when ours was written and taken away again, as tests need a way in
MISTAKE = f"""
printf 'AllowUsers nobody\\n' > {OTHER}
rm {OURS}
systemd-run --quiet --collect sh -c 'until [ -e {OURS} ]; do sleep 0.1; done; while [ -e {OURS} ]; do sleep 0.1; done
  rm {OTHER}; systemctl reload ssh'
"""


def test_a_second_login_that_fails_takes_it_back(site: Lab) -> None:
    site.run("mp1", MISTAKE)
    with pytest.raises(AssertionError) as failure:
        site.make("deploy", "TAGS=base")
    said = re.sub(r"\s+", " ", str(failure.value))
    assert "With keys alone nobody gets in to mp1 a second time" in said
    assert "base_sshd: false leaves sshd alone" in said
    poll(lambda: run(site.ssh("mp1", "true")).returncode == 0, within_s=60, what="a way in")
    left = site.run(
        "mp1", f"ls {OURS} {OTHER} 2> /dev/null; systemctl list-timers --all --no-legend 'matchpoint-sshd*'; true"
    )
    assert left == ""
    site.make("deploy", "TAGS=base")
    assert site.run("mp1", "sshd -T | grep -c '^passwordauthentication no'; ls /run/matchpoint-sshd* || true") == "1"
