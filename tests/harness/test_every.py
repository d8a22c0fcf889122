"""One test of many things names those that break its promise, and none of the others."""

import pytest

from tests.every import every


@pytest.fixture
def limit() -> int:
    return 3


@every([1, 2, 3])
def test_fixtures_are_given(number: int, limit: int) -> None:
    assert number <= limit


def test_offenders_are_listed() -> None:
    @every([1, 4, 5], name=lambda number: f"number {number}")
    def small(number: int) -> None:
        assert number <= 3
        raise KeyError(number)

    with pytest.raises(AssertionError) as failure:
        small()
    told = str(failure.value)
    assert "3 of 3" in told
    assert "number 4: assert 4 <= 3" in told
    assert "number 1: 1" in told


def test_nothing_to_look_at_is_no_success() -> None:
    with pytest.raises(AssertionError, match="nothing to look at"):
        every([])(lambda thing: None)()
