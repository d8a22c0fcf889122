"""A deployed host is what it should be, and what nobody looked at for a while is found out."""

from collections.abc import Callable

from tests.conftest import Lab, verify


def test_verify_passes(site: Lab, record_property: Callable[[str, object], None]) -> None:
    verify(site, record_property)
