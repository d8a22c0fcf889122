"""Another control machine: the site's secrets are not made anew because they are not here."""

from pathlib import Path

import pytest

from tests.conftest import Lab

STATE = (
    "find /etc /opt /usr/local -xdev -type f -exec sha256sum {} + | sort -k2; ls /run/matchpoint;"
    " systemctl show --property=MainPID --value 'matchpoint-web@*' 'matchpoint-live@*' postgresql@17-main"
    " valkey-server nginx"
)


def test_machine_without_the_secrets_is_refused_in_a_sentence_and_nothing_changes(site: Lab, tmp_path: Path) -> None:
    elsewhere = f"ARGS=-e matchpoint_secrets_file={tmp_path}/secrets.yml"
    before = site.run("mp1", STATE)
    for target in ("preflight", "deploy"):
        with pytest.raises(AssertionError) as failure:
            site.make(target, elsewhere)
        told = " ".join(str(failure.value).split())
        for part in ("mp1 runs with secrets which ", " deployed last, on 20", f"{tmp_path}/secrets.yml is not there",
                     "nobody can read the backups any more", "NEW_SECRETS=1", "changed=0"):  # fmt: skip
            assert part in told, told
    assert list(tmp_path.iterdir()) == []
    assert site.run("mp1", STATE) == before
