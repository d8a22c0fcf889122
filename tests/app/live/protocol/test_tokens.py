"""Seat tokens."""

import pytest

from live.protocol.tokens import InvalidToken, SeatClaim, seat_token, seat_token_read


def test_a_token_says_what_it_was_made_for() -> None:
    token = seat_token(match_id="a1", identity="u:7", side=None, worker="alpha-8101")
    assert seat_token_read(token) == SeatClaim("a1", "u:7", None, "alpha-8101")
    with pytest.raises(InvalidToken):
        seat_token_read(token[:-1])
    with pytest.raises(InvalidToken):
        seat_token_read("")
