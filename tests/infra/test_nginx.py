"""The edge, as browsers and strangers see it through the public address."""

import json
import re
import ssl

import pytest

testinfra_hosts = ["ansible://edge"]
UNITS = ["nginx.service"]


@pytest.fixture(scope="module")
def asset(public):
    """The address of a static file that the landing page uses."""
    return re.search(rb'"(/static/[^"]+\.css)"', public.get("/").text)[1].decode()


def test_landing_page_is_served_over_trusted_tls(public):
    assert public.get("/").status == 200


def test_plain_http_leads_to_https(public):
    answer = public.get("/m/abc/?x=1", https=False)
    assert (answer.status, answer.headers["Location"]) == (301, f"https://{public.domain}/m/abc/?x=1")


def test_http2_is_offered(public):
    with public.handshake(public.domain, public.tls(("h2", "http/1.1"))) as connection:
        assert connection.selected_alpn_protocol() == "h2"
        assert connection.version() == "TLSv1.3"


def test_tls_1_2_works_with_forward_secrecy_alone(public):
    context = public.tls()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with public.handshake(public.domain, context) as connection:
        assert connection.cipher()[0].startswith("ECDHE-")
    context.set_ciphers("AES128-GCM-SHA256:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        public.handshake(public.domain, context)


def test_other_names_get_no_certificate(public):
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized"):
        public.handshake("elsewhere.example.com", public.tls())


@pytest.mark.parametrize("path", ["/", "/static/nothing.css", "/metrics", "/nothing/", "/ws/nobody/match/x"])
def test_every_answer_insists_on_https_once(public, path):
    answer = public.get(path)
    (hsts,) = answer.headers.get_all("Strict-Transport-Security")
    assert int(re.search(r"\d+", hsts)[0]) >= 15552000
    assert answer.headers.get_all("X-Content-Type-Options") == ["nosniff"]


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz", "/metrics/", "/stub_status", "/config"])
def test_insides_are_not_public(public, path):
    assert public.get(path).status == 404


def test_hashed_static_files_are_kept_forever(public, asset):
    answer = public.get(asset)
    assert answer.status == 200
    assert "immutable" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(("accepted", "encoding"), [("gzip, br", "br"), ("gzip", "gzip"), ("identity", None)])
def test_static_files_come_precompressed(public, asset, accepted, encoding):
    answer = public.get(asset, Accept_Encoding=accepted)
    assert answer.headers["Content-Encoding"] == encoding
    assert answer.headers["Vary"] == "Accept-Encoding"


def test_server_tells_no_version(public):
    assert public.get("/").headers["Server"] == "nginx"


def test_sockets_reach_every_live_worker_by_name(public):
    handshake = {
        "Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": f"https://{public.domain}",
    }  # fmt: skip
    workers = [
        f"{name}-{port}"
        for name, facts in public.hosts.items()
        if "app" in facts["group_names"]
        for port in facts["app_live_ports"]
    ]
    for worker in workers:
        assert public.get(f"/ws/{worker}/match/none", **handshake).status in (101, 403), worker
    assert public.get("/ws/nobody-1/match/none", **handshake).status == 404


def test_running_configuration_is_the_one_on_disk(host):
    wanted = re.search(r"return 200 (\w+);", host.file("/etc/nginx/nginx.conf").content_string)[1]
    assert host.check_output("curl -sS http://127.0.0.1:8080/config") == wanted


def test_access_log_is_json(host):
    lines = host.check_output("tail -n 5 /var/log/nginx/access.log").splitlines()
    assert all("status" in json.loads(line) for line in lines)


def test_nginx_restarts_after_a_crash_and_runs_in_its_sandbox(host):
    assert host.check_output("systemctl show -P Restart nginx.service") == "always"
    line = host.check_output("systemd-analyze security --no-pager nginx.service | tail -n 1")
    assert float(line.split(":")[1].split()[0]) <= 2.6, line
