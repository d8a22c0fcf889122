"""Every language says everything that the site says."""

import gettext
import re
import shutil
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import Client

from tests.processes import run

APP = Path(settings.LOCALE_PATHS[0]).parent
SOURCES = sorted(Path(settings.LOCALE_PATHS[0]).glob("*/LC_MESSAGES/django.po"))
PLACEHOLDER = re.compile(r"%\(\w+\)s|\{\w+\}|%%")
NEEDS_GETTEXT = pytest.mark.skipif(shutil.which("msgcmp") is None, reason="needs msgcmp (apt: gettext)")


def catalogue(compiled: Path) -> dict[object, str]:
    with compiled.open("rb") as file:
        found: dict[object, str] = vars(gettext.GNUTranslations(file))["_catalog"]
    return found


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What programs and templates say now, as `makemessages` finds it."""
    copy = tmp_path_factory.mktemp("app")
    for file in [*APP.rglob("*.py"), *APP.rglob("*.html"), *APP.rglob("*.txt")]:
        target = copy / file.relative_to(APP)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    (copy / "locale").mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(copy)
        patch.setattr(settings, "LOCALE_PATHS", [])
        call_command("makemessages", locale=["de"], keep_pot=True, no_location=True, verbosity=0)
    return copy / "locale" / "django.pot"


def test_every_language_that_can_be_chosen_has_a_catalogue() -> None:
    assert {source.parts[-3] for source in SOURCES} == {code for code, _ in settings.LANGUAGES} - {"en"}


@NEEDS_GETTEXT
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.parts[-3])
def test_nothing_is_missing_or_doubtful(source: Path, said: Path) -> None:
    """docs/translations.md says what to do when this fails."""
    compared = run(["msgcmp", source, said])
    missing = [line for line in compared.stderr.splitlines() if "warning" not in line]
    assert compared.returncode == 0, "\n".join(missing)


@NEEDS_GETTEXT
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.parts[-3])
def test_the_compiled_translations_are_those_of_the_sources(source: Path, tmp_path: Path) -> None:
    run(["msgfmt", "--check-format", "-o", tmp_path / "new.mo", source], check=True)
    assert catalogue(source.with_suffix(".mo")) == catalogue(tmp_path / "new.mo"), "run manage.py compilemessages"


def test_translations_keep_the_places_where_something_is_put_in() -> None:
    wrong = [
        (source.parts[-3], said)
        for source in SOURCES
        for said, translated in catalogue(source.with_suffix(".mo")).items()
        if isinstance(said, str) and said and set(PLACEHOLDER.findall(said)) != set(PLACEHOLDER.findall(translated))
    ]
    assert wrong == []


def test_all_languages_say_the_same_things() -> None:
    """Also what no template says: sentences of the alerts, on the status page."""
    first, *others = [set(catalogue(source.with_suffix(".mo"))) for source in SOURCES]
    for other in others:
        assert first ^ other == set()


@pytest.mark.django_db
@pytest.mark.parametrize(("language", "play"), [("fr-CH,fr;q=0.9", "Jouer"), ("es-MX,es;q=0.9", "Jugar")])
def test_pages_numbers_and_dates_are_in_the_language_of_the_browser(client: Client, language: str, play: str) -> None:
    page = client.get("/", headers={"accept-language": language}).content.decode()
    assert f'<html lang="{language[:2]}"' in page
    assert play in page
    assert {f'value="{code}"' in page for code, _ in settings.LANGUAGES} == {True}
