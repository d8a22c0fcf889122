"""What nginx refuses and redirects by itself, and that nginx and a real worker agree on what is too large."""

from collections.abc import Iterator

import pytest

from tests.app.live.transport.test_process import Site
from tests.conftest import poll
from tests.processes import end, run

from .edge import ALIAS, NAME, Edge, edge

COOKIES = [f"{name}={'x' * 3500}" for name in "abcde"]
FAILURES = ("upstream", "[emerg]", "[crit]", "[alert]")


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A worker, as the hosts run them but for its settings."""
    site = Site(tmp_path_factory.mktemp("play"))
    site.wait_until_ready()
    yield site
    end(site.process)


@pytest.fixture(scope="module")
def front(game: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """nginx before two web workers, which are the same one: what fails at the first would be tried at the second."""
    folder = tmp_path_factory.mktemp("edge")
    worker = f"127.0.0.1:{game.port}"
    with edge(folder, [worker, worker], live={"one": worker}) as site:
        yield site


def curl(front: Edge, path: str, *headers: str, version: str = "2", method: str = "GET") -> tuple[int, str, str]:
    """Status, Location and text that curl gets."""
    command = [
        "curl", "--silent", "--globoff", "--path-as-is", f"--http{version}", "--request", method, "--max-time", "20",
        "--cacert", str(front.folder / "tls/fullchain.pem"), "--connect-to", f"{NAME}:443:127.0.0.1:{front.port}",
        "--write-out", "\n%{http_version} %{http_code} %{redirect_url}", f"https://{NAME}{path}",
        *(argument for header in headers for argument in ("--header", header)),
    ]  # fmt: skip
    before = len(front.noted)
    done = run(command, timeout_s=30)
    assert done.returncode == 0, done
    poll(lambda: len(front.noted) > before, within_s=10, every_s=0.01, what="nginx's line about the request")
    text, _, last = done.stdout.rpartition("\n")
    spoken, status, location = last.split(" ", 2)
    assert spoken == version
    return int(status), location, text


def tries(front: Edge) -> str:
    """The workers that nginx asked for the last request."""
    return str(front.noted[-1]["upstream"])


@pytest.fixture
def no_failures(front: Edge) -> Iterator[None]:
    log = front.folder / "error.log"
    begin = log.stat().st_size
    yield
    said = log.read_text()[begin:]
    assert not [line for line in said.splitlines() if any(word in line for word in FAILURES)], said


@pytest.mark.usefixtures("no_failures")
@pytest.mark.parametrize("version", ["1.1", "2"])
@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/api/matches", "/ws/one/match/x", "/ops/prometheus/graph"])
def test_too_many_cookies_are_a_page_that_says_so(front: Edge, path: str, version: str) -> None:
    cookies = [f"Cookie: {cookie}" for cookie in COOKIES] if version == "2" else [f"Cookie: {'; '.join(COOKIES)}"]
    status, _, text = curl(front, path, *cookies, version=version)
    assert status == 431
    assert "Delete the cookies of localhost" in text
    assert tries(front) == ""
    enough = cookies[:4] if version == "2" else [f"Cookie: {'; '.join(COOKIES[:4])}"]
    assert curl(front, path, *enough, version=version)[0] in (200, 302, 400, 401, 404, 405)


@pytest.mark.usefixtures("no_failures")
@pytest.mark.parametrize("version", ["1.1", "2"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([f"X-Long: {'x' * 8_000}"], 200),
        ([f"X-Long: {'x' * 30_000}"], 200),
        ([f"X-Long-{number}: {'x' * 20_000}" for number in range(3)], 431),
        ([f"X-{number}: {number}" for number in range(400)], 200),
        ([f"X-{number}: {number}" for number in range(3_000)], 431),
        ([f"X-{number}: {'x' * 100}" for number in range(550)], 431),
    ],
    ids=["8 kB", "30 kB", "3 times 20 kB", "400", "3000", "550 of 100 bytes"],
)
def test_workers_take_what_nginx_lets_through_or_say_that_it_is_too_large(
    front: Edge, headers: list[str], status: int, version: str
) -> None:
    answer, _, text = curl(front, "/accounts/login/", *headers, version=version)
    assert answer == status
    assert status == 200 or "Out. That was too long." in text
    assert len(tries(front).split(",")) == 1, "it was tried at another worker as well"


@pytest.mark.usefixtures("no_failures")
@pytest.mark.parametrize(("version", "length"), [("1.1", 9_000), ("1.1", 60_000), ("2", 9_000), ("2", 30_000)])
@pytest.mark.parametrize("path", ["/", "/ws/one/match/", "/ops/prometheus/"])
def test_a_long_address_is_a_page_that_says_so(front: Edge, path: str, version: str, length: int) -> None:
    status, _, text = curl(front, path + "x" * length, version=version)
    assert status == 414
    assert "Out. That was too long." in text


@pytest.mark.usefixtures("no_failures")
def test_a_header_beyond_all_limits_is_a_page_by_http_1(front: Edge) -> None:
    status, _, text = curl(front, "/", f"X-Long: {'x' * 100_000}", version="1.1")
    assert status == 431
    assert "Out. That was too long." in text


@pytest.mark.usefixtures("no_failures")
def test_a_redirect_may_be_longer_than_the_address_that_it_repeats(front: Edge) -> None:
    """The login is told where to lead afterwards, with five characters for one."""
    path = "/accounts/email/?x=" + "|" * 3_000
    status, location, _ = curl(front, path, version="1.1")
    assert status == 302
    assert len(location) > 15_000


@pytest.mark.usefixtures("no_failures")
def test_too_large_a_body_is_a_page_that_says_so(front: Edge) -> None:
    answer = front.ask("/api/matches", "POST", body="x" * 70_000)
    assert answer.status == 413
    assert "Out. That was too long." in answer.text


@pytest.mark.parametrize("host", [f"{NAME}.", f"{NAME}:8443", f"{NAME}.:443", "LOCALHOST.:8443"])
def test_other_spellings_of_the_name_lead_to_the_one(front: Edge, host: str) -> None:
    for path in ("/m/abc/?x=1", "/static/nothing.css", "/ws/one/match/x", "/ops/grafana/", "/nothing"):
        answer = front.ask(path, "POST", host=host, body="a=1")
        assert (answer.status, answer.headers["Location"]) == (308, f"https://{NAME}{path}"), path
        assert "max-age=" in answer.headers["Strict-Transport-Security"]


@pytest.mark.parametrize("host", [NAME, "LocalHost", f"{NAME}:443"])
def test_spellings_that_are_the_same_to_browsers_are_served(front: Edge, host: str) -> None:
    assert front.ask("/accounts/login/", host=host).status == 200


def test_aliases_lead_to_the_one_name(front: Edge) -> None:
    for host in (ALIAS, f"{ALIAS}.", f"{ALIAS}:8443"):
        answer = front.ask("/m/abc/?x=1", name=ALIAS, host=host)
        assert (answer.status, answer.headers["Location"]) == (308, f"https://{NAME}/m/abc/?x=1")
        assert len(answer.headers.get_all("Strict-Transport-Security")) == 1
    # Browsers use a connection for every name on its certificate
    assert front.ask("/", host=ALIAS).status == 308


@pytest.mark.parametrize("host", ["elsewhere.example.com", f"x.{NAME}", f"{NAME}.example.com", "127.0.0.1"])
def test_other_names_are_told_nothing(front: Edge, host: str) -> None:
    with pytest.raises(ConnectionError):
        front.ask("/", host=host)


def test_plain_http_leads_to_the_same_name_and_from_there_to_the_one(front: Edge) -> None:
    path = "/m/abc/?x=1"

    def redirect(port: int, host: str) -> str:
        command = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code} %{redirect_url}"]
        return str(run([*command, "--header", f"Host: {host}", f"http://127.0.0.1:{port}{path}"], timeout_s=10).stdout)

    for host, name in {NAME: NAME, f"{NAME}.:80": NAME, ALIAS: ALIAS}.items():
        assert redirect(front.plain_port, host) == f"301 https://{name}{path}"
    assert redirect(front.port, NAME) == f"308 https://{NAME}{path}", "plain HTTP on the port of HTTPS"
