"""Last activity: what CHP counts and what it misses, over all nodes, as the Hub
sees it. Lost activity lets a culler stop servers that are in use."""

import contextlib
import datetime
import socket
import time

import pytest
import requests

from processes import PATIENCE, eventually
from sockets import WebSocket


# How long what is read here may have been on its way, in seconds: servers send
# every 100 ms.
SLACK = 0.05


@pytest.fixture(scope="module", autouse=True)
def server(hub):
    hub.spawn("ana")
    yield
    hub.leave("ana")


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def recorded(cluster):
    return moment(cluster.chp("GET", "/api/routes/user/ana").json()["last_activity"])


def settled(cluster):
    """The last activity, once every node has reported what it carried."""
    last = [0, recorded(cluster)]
    while last[-1] != last[-2]:
        time.sleep(2.5)  # nodes report each second
        last.append(recorded(cluster))
    return last[-1]


# Ways to use the server. Each is a context: it gives the moment before the last
# byte moved, and what it opened stays open until it is left.


def fetch(path, method="GET", **kwargs):
    @contextlib.contextmanager
    def use(node):
        last = time.time()
        requests.request(method, f"http://{node}/user/ana/{path}", timeout=PATIENCE, allow_redirects=False, **kwargs)
        yield last
    return use


@contextlib.contextmanager
def a_stream(node):
    with requests.get(f"http://{node}/user/ana/stream", stream=True, timeout=PATIENCE) as r:
        end = time.monotonic() + 1.2
        for _ in r.iter_content(1):
            if time.monotonic() > end:
                yield time.time() - SLACK
                return


@contextlib.contextmanager
def an_echo(node):
    with WebSocket(node, "/user/ana/ws/echo") as ws:
        time.sleep(1.2)
        last = time.time()
        assert ws.echoes("hello")
        yield last


@contextlib.contextmanager
def a_push(node):
    with WebSocket(node, "/user/ana/ws/push") as ws:
        for _ in range(12):  # for more than a second
            assert ws.receive() == "tick"
        yield time.time() - SLACK


@contextlib.contextmanager
def an_upload(node):
    """Two bytes, the second when the first counts already; and an answer that does not come."""
    host, _, port = node.partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as conn:
        conn.sendall(f"POST /user/ana/hang HTTP/1.1\r\nHost: {node}\r\nContent-Length: 2\r\n\r\nx".encode())
        time.sleep(1.2)
        last = time.time()
        conn.sendall(b"x")
        yield last


@contextlib.contextmanager
def an_upload_that_waits(node):
    host, _, port = node.partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as conn:
        last = time.time()
        conn.sendall(f"POST /user/ana/hang HTTP/1.1\r\nHost: {node}\r\nContent-Length: 2\r\n\r\nxx".encode())
        yield last


@contextlib.contextmanager
def an_upload_whose_client_leaves(node):
    with an_upload_that_waits(node) as last:
        pass
    yield last


@pytest.mark.parametrize("use", [
    pytest.param(fetch("status/200"), id="an answer"),
    pytest.param(fetch("status/204"), id="an answer without a body"),
    pytest.param(fetch("status/304"), id="what the client has already, which CHP misses"),
    pytest.param(fetch("status/200", "POST", data="x"), id="an upload"),
    pytest.param(fetch("status/302", "POST", data="x"), id="a form that leads on"),
    pytest.param(an_upload, id="an upload that goes on"),
    pytest.param(an_upload_that_waits, id="an upload that waits for its answer"),
    pytest.param(an_upload_whose_client_leaves, id="an upload whose client leaves"),
    pytest.param(a_stream, id="a stream that goes on, which CHP misses"),
    pytest.param(an_echo, id="a WebSocket's message"),
    pytest.param(a_push, id="a WebSocket on which only the server speaks, which CHP misses"),
])
def test_use_moves_it_through_every_node(cluster, hub, use):
    for node in cluster.public:
        with use(node) as last:
            at = eventually("the last byte is recorded", lambda: recorded(cluster) >= last - 0.001 and recorded(cluster))
            assert at <= time.time(), "activity in the future"


@pytest.mark.parametrize("use", [
    pytest.param(fetch("status/302"), id="a redirect"),
    pytest.param(fetch("status/403"), id="a refusal"),
    pytest.param(fetch("status/404"), id="what is not there"),
    pytest.param(fetch("status/500"), id="a failure"),
    pytest.param(fetch("status/403", "POST", data="x"), id="an upload that is refused, which CHP counts"),
])
def test_strangers_do_not_move_it(cluster, hub, use):
    before = settled(cluster)
    for node in cluster.public:
        with use(node):
            pass
    assert settled(cluster) == before


def test_a_websocket_on_which_nothing_comes_does_not_move_it(cluster, hub):
    with WebSocket(cluster.public[0], "/user/ana/ws/quiet") as ws:
        before = settled(cluster)  # its opening counts
        time.sleep(3)
        assert recorded(cluster) == before
        ws.send("now")
        eventually("the message counts", lambda: recorded(cluster) > before)


def test_reading_the_table_does_not_move_it(cluster, hub):
    before = settled(cluster)
    for _ in range(5):
        cluster.routes()
    assert settled(cluster) == before


@pytest.mark.parametrize("name", ["inactive_since", "inactiveSince"])
def test_inactive_since_is_exact(cluster, hub, name):
    def listed(at):
        text = datetime.datetime.fromtimestamp(at, datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return "/user/ana" in cluster.chp("GET", f"/api/routes?{name}={text}").json()

    with an_echo(cluster.public[0]) as began:
        ended = time.time()
    at = settled(cluster)
    assert began - 0.001 <= at <= ended + SLACK  # milliseconds are all it shows
    assert [listed(began), listed(at), listed(at + 0.001), listed(ended + SLACK)] == [False, False, True, True]


def test_the_hub_hears_of_what_every_node_carried(cluster, hub):
    for node in cluster.public:
        began = time.time()
        with fetch("status/200")(node):
            pass

        def heard():
            user = hub.user("ana")
            return moment(user["servers"][""]["last_activity"]) >= began - 0.01 and moment(user["last_activity"]) >= began - 0.01

        eventually("the Hub knows of it", heard)


def test_a_culler_stops_who_is_idle_and_spares_who_is_not(cluster, hub):
    """As jupyterhub-idle-culler does it: by the Hub's last activity alone."""
    idle, busy = "idle", "ana"
    hub.spawn(idle)
    began = time.monotonic()
    with WebSocket(cluster.public[2], f"/user/{busy}/ws/push") as ws:

        def cull():
            ws.receive()
            for user in hub.api("GET", "/users?state=active").json():
                for server in user["servers"].values():
                    if server["ready"] and time.time() - moment(server["last_activity"]) > 8:
                        hub.api("DELETE", f"/users/{user['name']}/server").raise_for_status()
            return not hub.server(idle)

        eventually("who is idle is culled", cull)
        assert time.monotonic() - began > 7
        while time.monotonic() - began < 14:
            cull()
        assert hub.server(busy)["ready"]
        assert ws.receive() == "tick"
