"""What docs/jupyterhub.md shows beside the cluster, which all other tests run."""

import contextlib
import os
import signal
import time
import urllib.parse

import pytest
import requests

from hub import Browser, Hub, documented, run
from processes import PATIENCE, PROGRAM, Process, eventually, free_address


def port(address):
    return address.rpartition(":")[2]


def for_a_test(hub):
    """Starts a Hub that has a proxy of its own, and ends both."""
    try:
        hub.start()
        yield hub
    finally:
        hub.end()
        pid = hub.directory / "jupyterhub-proxy.pid"
        if pid.exists():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid.read_text()), signal.SIGKILL)


def on_path(directory):
    (directory / "signalbox").symlink_to(PROGRAM)
    return {"PATH": f"{directory}:/usr/bin:/bin"}


def own_addresses(hub_port):
    """What the documentation leaves to the Hub's defaults, which may be taken."""
    api = free_address()
    return api, f'c.JupyterHub.hub_port = {hub_port}\nc.ConfigurableHTTPProxy.api_url = "http://{api}"\n'


@pytest.fixture
def alone(tmp_path):
    public, address = free_address(), free_address()
    api, own = own_addresses(port(address))
    config = documented("jupyterhub_config.py, one machine", at_8000=public) + own
    h = Hub("alone", tmp_path, config, address, public, on_path(tmp_path))
    h.proxy_api = api
    yield from for_a_test(h)


def test_a_hub_starts_the_proxy_itself_and_ends_it(alone):
    ana = Browser("ana")
    ana.log_in(alone.public)
    alone.spawn("ana")
    assert ana.at(alone.public, "/user/ana/whoami").text == "ana /user/ana/whoami\n"

    proxy = int((alone.directory / "jupyterhub-proxy.pid").read_text())
    os.kill(proxy, signal.SIGKILL)
    # Its routes are gone with it, as CHP's; the Hub notices within 5 s.
    eventually("the Hub has started another", lambda: ana.at(alone.public, "/user/ana/whoami").text == "ana /user/ana/whoami\n")
    assert int((alone.directory / "jupyterhub-proxy.pid").read_text()) != proxy

    began = time.monotonic()
    alone.stop()
    eventually("nobody listens any more", lambda: refused(alone.public) and refused(alone.proxy_api))
    assert time.monotonic() - began < 15


def refused(address):
    try:
        requests.get(f"http://{address}/", timeout=5)
    except requests.ConnectionError:
        return True


@pytest.fixture
def secured(tmp_path):
    pki = Process("pki", tmp_path, ["/bin/sh", "-c", f"{PROGRAM} pki init && {PROGRAM} pki issue hub --host 127.0.0.1"])
    assert pki.start().child.wait(PATIENCE) == 0, pki.tail()
    public, plain, address = free_address(), free_address(), free_address()
    _, own = own_addresses(port(address))
    config = documented("jupyterhub_config.py, one machine with TLS", at_8443=public, **{
        "/etc/jupyterhub/hub.key": f"{tmp_path}/pki/hub.key", "/etc/jupyterhub/hub.pem": f"{tmp_path}/pki/hub.pem", '"8000"': f'"{port(plain)}"'}) + own
    h = Hub("secured", tmp_path, config, address, public, on_path(tmp_path))
    h.plain, h.ca = plain, f"{tmp_path}/pki/ca.pem"
    yield from for_a_test(h)


def test_a_hub_has_its_proxy_do_tls(secured):
    ana = Browser("ana")
    ana.trust_env, ana.verify = False, secured.ca  # whatever the environment says
    r = ana.post(f"https://{secured.public}/hub/login?next=/hub/home", data={"username": "ana", "password": "any"}, timeout=PATIENCE)
    assert r.status_code == 200 and r.url == f"https://{secured.public}/hub/home"
    secured.spawn("ana")
    assert ana.get(f"https://{secured.public}/user/ana/whoami").text == "ana /user/ana/whoami\n"
    led = requests.get(f"http://{secured.plain}/user/ana/whoami?a=b", allow_redirects=False, timeout=PATIENCE)
    assert (led.status_code, led.headers["Location"]) == (301, f"https://{secured.public}/user/ana/whoami?a=b")


@pytest.fixture
def behind_chp(cluster, hub, tmp_path):
    """A Hub with a real configurable-http-proxy, which is not its child. The
    other Hub is stopped meanwhile: two would fight over one table."""
    hub.stop()
    old, api, address = free_address(), free_address(), free_address()
    chp = Process("chp", tmp_path, ["/usr/bin/configurable-http-proxy", "--ip", "127.0.0.1", "--port", port(old), "--api-port", port(api)],
                  {"CONFIGPROXY_AUTH_TOKEN": cluster.token, "NODE_PATH": "/usr/share/nodejs"})  # which Node.js from elsewhere does not look at
    chp.start()
    eventually("CHP listens", lambda: requests.get(f"http://{api}/api/routes", timeout=5).status_code == 403)
    config = documented("jupyterhub_config.py, cluster", at_8001=api, **{"10.0.0.5": "127.0.0.1", "hub_port = 8081": f"hub_port = {port(address)}"})
    h = Hub("moving", tmp_path, config, address, old, {"CONFIGPROXY_AUTH_TOKEN": cluster.token})
    h.proxy, h.proxy_api = chp, api
    try:
        h.start()
        yield h
    finally:
        h.end()
        chp.kill()
        for key in cluster.routes():
            cluster.chp("DELETE", f"/api/routes{urllib.parse.quote(key)}")
        hub.start()


def test_a_hub_moves_from_chp_to_the_cluster_with_users_at_work(cluster, behind_chp):
    hub = behind_chp
    hub.spawn("ana")
    token = {"CONFIGPROXY_AUTH_TOKEN": cluster.token}
    foreign = requests.post(f"http://{hub.proxy_api}/api/routes/foreign%20one", json={"target": "http://127.0.0.1:9"}, headers={"Authorization": f"token {cluster.token}"}, timeout=PATIENCE)
    assert foreign.status_code == 201
    with requests.Session() as at_work:
        assert at_work.get(f"http://{hub.public}/user/ana/whoami").text == "ana /user/ana/whoami\n"

        assert run("copy_routes.py OLD-API NEW-API", "python", token, f"http://{hub.proxy_api}", f"http://{cluster.api}").startswith("/foreign one ")
        run("move the Hub", "sh", token | {"HUB_TOKEN": hub.token}, at_8081=hub.address, at_8001=cluster.api)
        for node in cluster.public:
            assert requests.get(f"http://{node}/user/ana/whoami", timeout=PATIENCE).text == "ana /user/ana/whoami\n", node
        assert {"/", "/user/ana", "/foreign one"} <= set(cluster.routes())
        assert at_work.get(f"http://{hub.public}/user/ana/whoami").text == "ana /user/ana/whoami\n"
    hub.proxy.kill()
    hub.spawn("ben")
    for node in cluster.public:
        assert requests.get(f"http://{node}/user/ben/whoami", timeout=PATIENCE).text == "ben /user/ben/whoami\n", node


def test_routes_that_were_not_used_can_be_asked_for(cluster, hub):
    hub.spawn("ana")
    assert run("what was not used for an hour", "sh", {"CONFIGPROXY_AUTH_TOKEN": cluster.token}, at_8001=cluster.api) == "{}"
    hub.leave("ana")
