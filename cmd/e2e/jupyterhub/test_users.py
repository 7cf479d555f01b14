"""What users do: log in, start servers, work on them, leave."""

import concurrent.futures
import json
import os
import time
import uuid

import pytest
import requests

from hub import Browser
from processes import PATIENCE, eventually
from sockets import WebSocket

REAL = ["real-ana", "real-ben", "real-cleo"]  # who have notebook servers


@pytest.fixture(scope="module")
def notebooks(hub):
    for name in REAL:
        hub.spawn(name, wait=False)
    for name in REAL:
        eventually(f"{name}'s server is ready", lambda: hub.server(name).get("ready"))
    yield
    for name in REAL:
        hub.leave(name)


def test_a_user_logs_in_through_one_node_and_starts_a_server_through_another(cluster, hub):
    ana = Browser("ana")
    ana.log_in(cluster.public[0])
    page = ana.at(cluster.public[1], "/hub/spawn")
    assert page.status_code == 200
    eventually("the server is reached", lambda: ana.at(cluster.public[2], "/user/ana/whoami").text == "ana /user/ana/whoami\n")
    for node in cluster.public:
        assert ana.at(node, "/user/ana/whoami").text == "ana /user/ana/whoami\n", node
    hub.leave("ana")
    for node in cluster.public:
        # Not the server any more: the Hub answers that it is not running.
        assert ana.at(node, "/user/ana/whoami").status_code == 424, node


def test_names_that_must_be_escaped_have_servers_on_every_node(cluster, hub):
    for name, path in {"bob@example.com": "/user/bob@example.com", "ünï": "/user/%C3%BCn%C3%AF"}.items():
        hub.spawn(name)
        for node in cluster.public:
            # As it is sent it arrives: servers compare their base path raw.
            r = requests.get(f"http://{node}{path}/whoami", timeout=PATIENCE)
            assert r.status_code == 200 and r.text.endswith(f" {path}/whoami\n"), (node, r.text)
        hub.leave(name)


def test_a_named_server_is_another_route(cluster, hub):
    hub.spawn("ana")
    assert hub.api("POST", "/users/ana/servers/second").status_code in (201, 202)
    eventually("the second server is there", lambda: hub.user("ana")["servers"]["second"]["ready"])
    targets = {k: v["target"] for k, v in cluster.routes().items()}
    assert targets["/user/ana/second"] != targets["/user/ana"]
    for node in cluster.public:
        assert requests.get(f"http://{node}/user/ana/second/whoami", timeout=PATIENCE).text == "ana /user/ana/second/whoami\n"
    hub.api("DELETE", "/users/ana/servers/second", {"remove": True})
    eventually("its route is gone", lambda: "/user/ana/second" not in cluster.routes())
    assert requests.get(f"http://{cluster.public[0]}/user/ana/whoami", timeout=PATIENCE).ok
    hub.leave("ana")


def test_notebook_servers_show_their_pages_through_every_node(cluster, hub, notebooks):
    for name in REAL:
        browser = Browser(name)
        browser.log_in(cluster.public[0])
        for node in cluster.public:
            page = browser.at(node, f"/user/{name}/tree")
            assert page.status_code == 200 and f"/user/{name}/" in page.text, (node, page.status_code, page.url)


def execute(cluster, hub, node, user, kernel, code):
    """What a kernel says that code comes to, over a WebSocket."""
    message = {"header": {"msg_id": uuid.uuid4().hex, "username": user, "session": "e2e", "msg_type": "execute_request", "version": "5.3"},
               "parent_header": {}, "metadata": {}, "content": {"code": code, "silent": False}, "channel": "shell", "buffers": []}
    with WebSocket(node, f"/user/{user}/api/kernels/{kernel}/channels", {"Authorization": f"token {hub.token}"}) as ws:
        ws.send(json.dumps(message))
        while True:
            said = json.loads(ws.receive())
            if said["msg_type"] == "execute_result":
                return said["content"]["data"]["text/plain"]


def notebook(hub, node, user, method, path):
    r = requests.request(method, f"http://{node}/user/{user}{path}", headers={"Authorization": f"token {hub.token}"}, timeout=PATIENCE)
    assert r.ok, (r.status_code, r.text)
    return r.json() if r.text else None


def test_a_kernel_computes_through_every_node(cluster, hub, notebooks):
    kernel = notebook(hub, cluster.public[0], REAL[0], "POST", "/api/kernels")["id"]
    assert execute(cluster, hub, cluster.public[0], REAL[0], kernel, "x = 6; x") == "6"
    for i, node in enumerate(cluster.public):
        # The kernel is one, whichever node leads there.
        assert execute(cluster, hub, node, REAL[0], kernel, f"x * {i}") == str(6 * i)
    notebook(hub, cluster.public[1], REAL[0], "DELETE", f"/api/kernels/{kernel}")


def test_a_terminal_runs_commands_through_every_node(cluster, hub, notebooks):
    terminal = notebook(hub, cluster.public[0], REAL[1], "POST", "/api/terminals")["name"]
    for i, node in enumerate(cluster.public):
        with WebSocket(node, f"/user/{REAL[1]}/terminals/websocket/{terminal}", {"Authorization": f"token {hub.token}"}) as ws:
            ws.send(json.dumps(["stdin", f"echo =$((1000 + {i}))=\r"]))
            shown = ""
            while f"={1000 + i}=" not in shown:
                said = json.loads(ws.receive())
                shown += said[1] if said[0] == "stdout" else ""


def test_a_file_of_many_megabytes_is_uploaded_and_comes_back(cluster, hub, notebooks):
    text = "0123456789abcdef" * (20 << 16)  # 20 MiB
    url = f"/user/{REAL[2]}/api/contents/big.txt"
    header = {"Authorization": f"token {hub.token}"}
    r = requests.put(f"http://{cluster.public[0]}{url}", json={"type": "file", "format": "text", "content": text}, headers=header, timeout=PATIENCE)
    assert r.status_code == 201, r.text
    back = requests.get(f"http://{cluster.public[1]}/user/{REAL[2]}/files/big.txt", headers=header, timeout=PATIENCE)
    assert back.text == text


def test_many_users_come_at_once_and_leave(cluster, hub):
    number = int(os.environ.get("SIGNALBOX_E2E_USERS", "60"))
    names = [f"many{i}" for i in range(number)]
    for i in range(0, number, 100):
        hub.api("POST", "/users", {"usernames": names[i:i + 100]}).raise_for_status()
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        began = time.monotonic()
        for r in pool.map(lambda n: hub.api("POST", f"/users/{n}/server"), names):
            assert r.status_code in (201, 202), r.text

        def all_ready():
            ready = set()
            for offset in range(0, 2 * number, 200):  # the Hub's largest page
                ready |= {u["name"] for u in hub.api("GET", f"/users?state=ready&limit=200&offset={offset}").json()}
            return ready.issuperset(names)

        eventually(f"{number} servers are ready", all_ready, patience=10 * PATIENCE)
        came = time.monotonic() - began

        def reached(name):
            return [node for node in cluster.public if requests.get(f"http://{node}/user/{name}/whoami", timeout=PATIENCE).text != f"{name} /user/{name}/whoami\n"]

        unreached = {n: nodes for n, nodes in zip(names, pool.map(reached, names)) if nodes}
        assert not unreached, unreached
        began = time.monotonic()
        for r in pool.map(lambda n: hub.api("DELETE", f"/users/{n}/server"), names):
            assert r.status_code in (202, 204), r.text
        eventually("their routes are gone", lambda: not any(k.startswith("/user/many") for k in cluster.routes()), patience=5 * PATIENCE)
        left = time.monotonic() - began
    print(f"\n{number} users: all servers ready after {came:.1f} s, reached through three nodes, gone after {left:.1f} s")
