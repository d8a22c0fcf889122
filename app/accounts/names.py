"""What a player may be called: nothing that looks like another name, like nothing, or like staff."""

import unicodedata
from typing import Final

from confusable_homoglyphs import confusables
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

_RESERVED: Final = """
abuse admin administrator anonymous computer daemon everyone guest help hostmaster mail matchpoint moderator
nobody noreply official oncall operator ops owner postmaster root security server staff superuser support system
webmaster
"""
RESERVED: Final = frozenset(_RESERVED.split())
_UNSEEN: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # drawn as nothing, though no format


def name_clean(name: str, *, may_be_reserved: bool = False) -> str:
    """`name` as it is kept: compatible forms of letters are one, and spaces are single. ValidationError."""
    name = " ".join(unicodedata.normalize("NFKC", name).split())
    if any(unicodedata.category(char).startswith("C") or char in _UNSEEN for char in name):
        raise ValidationError(_("A name has no invisible characters."))
    if name and not any(char.isalnum() for char in name):
        raise ValidationError(_("A name has a letter or a digit."))
    if confusables.is_dangerous(name):
        raise ValidationError(_("This name mixes alphabets so that it looks like another one."))
    if not may_be_reserved and not RESERVED.isdisjoint(_words(name)):
        raise ValidationError(_("This name is kept for the site."))
    return name


def _words(name: str) -> set[str]:
    """The words of a name as they look in Latin letters, and all of it as one."""
    looks = "".join(_latin(char) for char in name).casefold()
    words = "".join(char if char.isalpha() else " " for char in looks).split()
    return {*words, "".join(words)}


def _latin(char: str) -> str:
    if char.isascii():
        return char
    alike = confusables.is_confusable(char, preferred_aliases=["latin"])
    letters = [each["c"] for each in alike[0]["homoglyphs"]] if alike else []
    return next((letter for letter in letters if letter.isascii()), char)
