"""Every edge, as browsers and strangers see it."""

import json
import re
import ssl

import pytest

testinfra_hosts = ["ansible://edge"]
UNITS = ["nginx.service"]


@pytest.fixture(scope="module")
def asset(edge):
    """The address of a static file that the landing page uses."""
    return re.search(rb'"(/static/[^"]+\.css)"', edge.get("/").text)[1].decode()


def test_landing_page_is_served_over_trusted_tls(edge):
    assert edge.get("/").status == 200


def test_plain_http_leads_to_https(edge):
    answer = edge.get("/m/abc/?x=1", https=False)
    assert (answer.status, answer.headers["Location"]) == (301, f"https://{edge.domain}/m/abc/?x=1")


def test_http2_is_offered(edge):
    with edge.handshake(edge.domain, edge.tls(("h2", "http/1.1"))) as connection:
        assert connection.selected_alpn_protocol() == "h2"
        assert connection.version() == "TLSv1.3"


def test_tls_1_2_works_with_forward_secrecy_alone(edge):
    context = edge.tls()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with edge.handshake(edge.domain, context) as connection:
        assert connection.cipher()[0].startswith("ECDHE-")
    context.set_ciphers("AES128-GCM-SHA256:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        edge.handshake(edge.domain, context)


def test_other_names_get_no_certificate(edge):
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized"):
        edge.handshake("elsewhere.example.com", edge.tls())


@pytest.mark.parametrize("path", ["/", "/static/nothing.css", "/metrics", "/nothing/", "/ws/nobody/match/x"])
def test_every_answer_insists_on_https_once(edge, path):
    answer = edge.get(path)
    (hsts,) = answer.headers.get_all("Strict-Transport-Security")
    assert int(re.search(r"\d+", hsts)[0]) >= 15552000
    assert answer.headers.get_all("X-Content-Type-Options") == ["nosniff"]


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz", "/metrics/", "/stub_status", "/config"])
def test_insides_are_not_public(edge, path):
    assert edge.get(path).status == 404


def test_hashed_static_files_are_kept_forever(edge, asset):
    answer = edge.get(asset)
    assert answer.status == 200
    assert "immutable" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(("accepted", "encoding"), [("gzip, br", "br"), ("gzip", "gzip"), ("identity", None)])
def test_static_files_come_precompressed(edge, asset, accepted, encoding):
    answer = edge.get(asset, Accept_Encoding=accepted)
    assert answer.headers["Content-Encoding"] == encoding
    assert answer.headers["Vary"] == "Accept-Encoding"


def test_server_tells_no_version(edge):
    assert edge.get("/").headers["Server"] == "nginx"


def handshake_of(edge):
    return {
        "Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": f"https://{edge.domain}",
    }  # fmt: skip


def test_the_lobby_is_open(edge):
    assert edge.get("/ws/lobby", **handshake_of(edge)).status in (101, 403)
    assert edge.get("/ws/lobby/", **handshake_of(edge)).status == 404


def test_sockets_reach_every_live_worker_by_name(edge, public):
    handshake = handshake_of(edge)
    workers = [
        f"{name}-{port}"
        for name, facts in public.hosts.items()
        if "app" in facts["group_names"]
        for port in facts["app_live_ports"]
    ]
    for worker in workers:
        assert edge.get(f"/ws/{worker}/match/none", **handshake).status in (101, 403), worker
    assert edge.get("/ws/nobody-1/match/none", **handshake).status == 404


def test_every_edge_has_the_static_files_of_every_page(edge, public):
    """Pages come from any app host, their files from any edge, whatever release is where during a roll."""
    for page in ("/", "/accounts/login/"):
        files = set(re.findall(rb'"(/static/[^"]+)"', public.get(page).text))
        assert files
        assert {path: edge.get(path.decode()).status for path in files} == dict.fromkeys(files, 200)


def test_running_configuration_is_the_one_on_disk(host):
    wanted = re.search(r"return 200 (\w+);", host.file("/etc/nginx/nginx.conf").content_string)[1]
    assert host.check_output("curl -sS http://127.0.0.1:8080/config") == wanted


def test_access_log_is_json(host):
    lines = host.check_output("tail -n 5 /var/log/nginx/access.log").splitlines()
    assert all("status" in json.loads(line) for line in lines)


def test_nginx_restarts_after_a_crash(host):
    assert host.check_output("systemctl show -P Restart nginx.service") == "always"
