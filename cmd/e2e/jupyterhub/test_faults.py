"""What a Hub relies on while parts come and go, and what it does when the
proxy's API fails: the same as with configurable-http-proxy, or better."""

import signal
import threading
import time

import pytest
import requests

from hub import cluster_hub, run
from processes import PATIENCE, Process, eventually
from sockets import WebSocket

STUB = {"target": "http://127.0.0.1:9", "jupyterhub": True, "user": "nobody", "server_name": ""}


@pytest.fixture
def ana(hub):
    hub.spawn("ana")
    yield "ana"
    hub.leave("ana")


class Traffic:
    """One user who asks for a page again and again, and remembers what failed."""

    def __init__(self, node, path, right):
        self.url, self.right = f"http://{node}{path}", right
        self.asked, self.wrong, self.over = 0, [], threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        with requests.Session() as s:
            while not self.over.wait(0.01):
                try:
                    r = s.get(self.url, timeout=PATIENCE)
                    if r.text != self.right:
                        self.wrong.append((r.status_code, r.text[:200]))
                except requests.RequestException as e:
                    self.wrong.append(repr(e))
                self.asked += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def reached(node, path="/user/ana/whoami"):
    return requests.get(f"http://{node}{path}", timeout=PATIENCE).text == f"ana {path}\n"


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_users_work_on_while_the_hub_is_started_again(cluster, hub, ana, how):
    pid, target = hub.server(ana)["started"], cluster.routes()["/user/ana"]["target"]
    with Traffic(cluster.public[0], "/user/ana/whoami", "ana /user/ana/whoami\n") as t, WebSocket(cluster.public[1], "/user/ana/ws/echo") as ws:
        assert ws.echoes("before")
        hub.stop() if how == "stopped" else hub.kill()
        assert ws.echoes("without a hub")
        for node in cluster.public:
            assert reached(node), node
        assert requests.get(f"http://{cluster.public[0]}/hub/home", timeout=PATIENCE).status_code >= 500
        hub.start()
        eventually("the Hub knows the server", lambda: hub.server(ana).get("ready"))
        assert ws.echoes("after")
    assert hub.server(ana)["started"] == pid and cluster.routes()["/user/ana"]["target"] == target, "the server was started again"
    assert t.asked > 20 and not t.wrong, t.wrong[:5]


def test_users_work_on_while_a_control_plane_is_killed_and_started(cluster, hub, ana):
    with Traffic(cluster.public[0], "/user/ana/whoami", "ana /user/ana/whoami\n") as t, WebSocket(cluster.public[1], "/user/ana/ws/echo") as ws:
        for plane in cluster.planes:
            plane.kill()
            hub.spawn("ben")  # through the other one
            for node in cluster.public:
                assert requests.get(f"http://{node}/user/ben/whoami", timeout=PATIENCE).text == "ben /user/ben/whoami\n", node
            hub.leave("ben")
            plane.start()
            cluster.whole()
            assert ws.echoes("still there")
    assert t.asked > 20 and not t.wrong, t.wrong[:5]


def test_users_of_other_nodes_work_on_while_a_node_is_killed_and_started(cluster, hub, ana):
    node = cluster.nodes[2]
    with Traffic(cluster.public[0], "/user/ana/whoami", "ana /user/ana/whoami\n") as t, WebSocket(cluster.public[1], "/user/ana/ws/echo") as ws:
        node.kill()
        hub.spawn("ben")  # waits for nodes that are known to be there, not for ever
        assert requests.get(f"http://{cluster.public[0]}/user/ben/whoami", timeout=PATIENCE).text == "ben /user/ben/whoami\n"
        node.start()
        # It serves nothing before it has what was written meanwhile.
        eventually("the node serves", lambda: requests.get(f"http://{cluster.public[2]}/user/ben/whoami", timeout=PATIENCE).text == "ben /user/ben/whoami\n")
        cluster.whole()
        hub.leave("ben")
        assert ws.echoes("still there")
    assert t.asked > 20 and not t.wrong, t.wrong[:5]


def test_a_route_that_was_lost_is_written_again(cluster, hub, ana):
    target = cluster.routes()["/user/ana"]["target"]
    cluster.chp("DELETE", "/api/routes/user/ana")
    eventually("the Hub writes it again", lambda: cluster.routes().get("/user/ana", {}).get("target") == target)
    for node in cluster.public:
        assert reached(node), node


def test_a_route_to_another_target_is_put_right(cluster, hub, ana):
    target = cluster.routes()["/user/ana"]["target"]
    cluster.chp("POST", "/api/routes/user/ana", {**STUB, "user": "ana"})
    eventually("the Hub puts it right", lambda: cluster.routes()["/user/ana"]["target"] == target)


def test_a_stale_route_is_removed_and_a_foreign_one_is_left(cluster, hub):
    cluster.chp("POST", "/api/routes/foreign", {"target": "http://127.0.0.1:9"})
    cluster.chp("POST", "/api/routes/user/nobody", STUB)
    eventually("the stale route is gone", lambda: "/user/nobody" not in cluster.routes())
    assert "/foreign" in cluster.routes()
    cluster.chp("DELETE", "/api/routes/foreign")


def test_all_routes_come_back_when_the_hub_is_asked_to_check(cluster, hub, ana):
    for key in ("/user/ana", "/"):
        cluster.chp("DELETE", f"/api/routes{key}")
    assert hub.api("POST", "/proxy").ok
    assert {"/", "/user/ana"} <= set(cluster.routes())


def test_a_server_that_died_is_answered_for_by_the_hub(cluster, hub):
    """The listener's error pages are the Hub's, as --error-target has it."""
    run("what CHP's flags and habits are, for a cluster", "sh", {"KEY": cluster.admin}, at_8001=cluster.api, **{"10.0.0.5:8081": hub.address})
    for node in cluster.public:
        assert eventually("the nodes have it", lambda: requests.get(f"http://{node}/_chp_healthz", timeout=PATIENCE).json()) == {"status": "OK"}
    hub.spawn("cleo")
    state = hub.api("GET", "/users/cleo?include_stopped_servers").json()["servers"][""]["state"]
    Process("kill", hub.directory, ["/bin/kill", "-9", state["pid"]]).start().child.wait()
    for node in cluster.public:
        r = requests.get(f"http://{node}/user/cleo/whoami", timeout=PATIENCE)
        assert r.status_code == 503 and "JupyterHub" in r.text, (r.status_code, r.text)
    eventually("the Hub notices, and removes its route", lambda: "/user/cleo" not in cluster.routes())


def test_a_spawn_outlasts_an_api_that_fails_for_seconds(cluster, hub):
    for p in cluster.planes:
        p.kill()
    began = time.monotonic()
    hub.spawn("ben", wait=False)  # the Hub hears 503, and tries again
    time.sleep(6)
    for p in cluster.planes:
        p.start()
    eventually("the server is ready", lambda: hub.server("ben").get("ready"))
    print(f"\nready {time.monotonic() - began:.1f} s after it was asked for")
    cluster.whole()
    for node in cluster.public:
        assert requests.get(f"http://{node}/user/ben/whoami", timeout=PATIENCE).text == "ben /user/ben/whoami\n"
    hub.leave("ben")


def test_a_spawn_outlasts_an_api_that_hangs_for_seconds(cluster, hub):
    cluster.gateway.signal(signal.SIGSTOP)
    hub.spawn("ben", wait=False)
    time.sleep(6)
    cluster.gateway.signal(signal.SIGCONT)
    eventually("the server is ready", lambda: hub.server("ben").get("ready"))
    hub.leave("ben")


def test_a_stop_outlasts_an_api_that_fails_for_seconds(cluster, hub):
    hub.spawn("ben")
    for p in cluster.planes:
        p.kill()
    assert hub.api("DELETE", "/users/ben/server").status_code == 202
    for p in cluster.planes:
        p.start()
    eventually("the server is gone", lambda: not hub.server("ben"))
    assert "/user/ben" not in cluster.routes()
    cluster.whole()


def test_a_spawn_that_the_api_fails_for_good_is_given_up_and_can_be_tried_again(cluster, hub):
    for p in cluster.planes:
        p.kill()
    began = time.monotonic()
    hub.spawn("ben", wait=False)
    eventually("the Hub gives up", lambda: not hub.server("ben"))
    gone = time.monotonic() - began
    for p in cluster.planes:
        p.start()
    cluster.whole()
    assert gone > 15, "5xx is tried again for half a minute"
    hub.spawn("ben")
    hub.leave("ben")


@pytest.mark.parametrize("wrong", ["token", "address"])
def test_a_hub_that_cannot_use_the_api_says_so_and_ends(cluster, hub, tmp_path, wrong):
    other = cluster_hub(tmp_path, cluster)
    if wrong == "token":
        other.env["CONFIGPROXY_AUTH_TOKEN"] = "not-the-token"
    else:
        file = tmp_path / "hub_config.py"
        file.write_text(file.read_text().replace(cluster.api, "127.0.0.1:9"))
    began = time.monotonic()
    Process.start(other)
    assert other.child.wait(PATIENCE) == 1
    assert time.monotonic() - began < 15
