"""Every language says everything that the site says."""

import gettext
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import allauth
import pytest
from django.conf import settings
from django.contrib.sites.shortcuts import get_current_site
from django.core.management import call_command
from django.template.loader import get_template
from django.test import Client, RequestFactory
from django.utils import translation

from accounts.adapter import AccountAdapter
from accounts.models import User
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


# Ways to log in that are off, and a mail to strangers that is off (settings)
NEVER_SENT = ("account/email/login_code", "account/email/password_reset_code", "account/email/unknown_account")


def mails() -> list[str]:
    """All mails that allauth or we can send, by the prefix of their templates."""
    folders = [Path(allauth.__file__).parent / "templates", APP / "templates"]
    found = {
        str(file.relative_to(folder)).removesuffix("_subject.txt")
        for folder in folders
        for app in ("account", "mfa")
        for file in (folder / app / "email").glob("*_subject.txt")
    }
    return sorted(found - set(NEVER_SENT))


def test_every_mail_is_our_own_in_every_language_as_text_and_html() -> None:
    request = RequestFactory().get("/")
    link = "http://testserver/accounts/somewhere/"
    context = {
        "request": request,
        "current_site": get_current_site(request),
        "user": User(username="ada"),
        "email": "ada@example.com",
        "activate_url": link,
        "password_reset_url": link,
        "ip": "192.0.2.1",
        "user_agent": "http://evil.example/<b>",
        "timestamp": datetime(2026, 1, 2, 12, tzinfo=UTC),
        "due_at": datetime(2026, 1, 2, 12, tzinfo=UTC),
    }
    assert len(mails()) > 15
    for prefix in mails():
        said = {}
        for part in ("subject", "message"):
            assert get_template(f"{prefix.removesuffix('_signup')}_{part}.txt").origin.name.startswith(str(APP)), (
                f"{prefix} is allauth's"
            )
        for language, _ in settings.LANGUAGES:
            with translation.override(language):
                message = AccountAdapter(request).render_mail(prefix, "ada@example.com", context)
            ((html, kind),) = [(str(part[0]), part[1]) for part in message.alternatives]
            assert message.subject.startswith("[Matchpoint] ")
            assert "Matchpoint · testserver" in message.body
            assert kind == "text/html"
            assert f'<html lang="{language}"' in html
            assert 'href="http://evil' not in html
            assert "<b>" not in html
            assert f'<a href="{link}"' in html or link not in message.body
            said[language] = (message.subject, message.body)
        assert len({subject for subject, _ in said.values()}) == len(settings.LANGUAGES), said
        assert len({body for _, body in said.values()}) == len(settings.LANGUAGES), said


OTHER_TONE = {
    "de": r"\b(Ihnen|Ihre[mnrs]?|(?<!^)(?<![.:?!] )Sie)\b",
    "fr": r"\b(tu|toi|tes|ton)\b",
    "es": r"\b(usted|ustedes)\b",
}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.parts[-3])
def test_a_language_keeps_its_tone(source: Path) -> None:
    other = re.compile(OTHER_TONE[source.parts[-3]])
    assert [text for text in catalogue(source.with_suffix(".mo")).values() if other.search(text)] == []


# Of allauth's own pages, which show what stands in its catalogues unless ours says otherwise
FORMAL = (
    ("de", "/accounts/password/reset/", r"\b(Ihnen|Ihre?[mnrs]?)\b"),
    ("de", "/accounts/password/reset/done/", r"\b(Ihnen|Ihre?[mnrs]?)\b"),
    ("es", "/accounts/password/reset/", r"\b(usted|su|Introduzca)\b"),
    ("es", "/accounts/password/reset/done/", r"\b(usted|su|Le)\b"),
)


@pytest.mark.django_db
@pytest.mark.parametrize(("language", "path", "formal"), FORMAL)
def test_the_pages_of_the_login_speak_as_all_others_do(client: Client, language: str, path: str, formal: str) -> None:
    page = client.get(path, headers={"accept-language": language}).content.decode()
    main = re.sub(r"<[^>]*>", " ", page[page.index("<main") : page.index("</main>")])
    assert re.search(formal, main) is None, main
