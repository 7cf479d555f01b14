"""Processes that end with the tests, and a cluster made of them."""

import os
import pathlib
import secrets
import signal
import socket
import subprocess
import time

import requests

ROOT = pathlib.Path(__file__).resolve().parents[3]
PROGRAM = pathlib.Path(os.environ.get("SIGNALBOX_BIN", ROOT / "bin/signalbox")).resolve()

PATIENCE = 60  # seconds that a test waits for what must come


def eventually(what, attempt, patience=PATIENCE):
    """Tries until the attempt returns something true, and returns that."""
    end = time.monotonic() + patience
    last = None
    while time.monotonic() < end:
        try:
            if got := attempt():
                return got
            last = got
        except (OSError, requests.RequestException, AssertionError) as e:
            last = e
        time.sleep(0.1)
    raise AssertionError(f"in {patience} s it did not come true that {what}: {last!r}")


_reserved = []  # sockets that keep ports for this process and its children


def free_address():
    """A loopback address that nobody else is given while the tests run.

    A socket is bound to it that does not listen: those who set SO_REUSEADDR,
    as servers do, can listen there all the same.
    """
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0))
    _reserved.append(s)
    return f"127.0.0.1:{s.getsockname()[1]}"


class Process:
    """A program in a session of its own, which can be started again."""

    def __init__(self, name, directory, args, env=None):
        self.name, self.args, self.env = name, [str(a) for a in args], env or {}
        self.directory, self.log = directory, directory / f"{name}.log"
        self.child = None

    def start(self):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SIGNALBOX_", "CONFIGPROXY_", "JUPYTERHUB_"))}
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                self.args, cwd=self.directory, env=kept | self.env,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )
        return self

    def running(self):
        return self.child is not None and self.child.poll() is None

    def signal(self, number):
        self.child.send_signal(number)

    def kill(self):
        """A sudden death."""
        if self.running():
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()

    def stop(self):
        """Asks it to end, and returns its exit code."""
        self.signal(signal.SIGTERM)
        try:
            return self.child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} does not end when it is asked to") from None

    def tail(self, lines=12):
        text = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"  {self.name}: {line}" for line in text[-lines:])


def kill_marked(mark):
    """Kills what has a mark in its environment: servers outlive their Hub."""
    for entry in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in entry.read_bytes():
                os.kill(int(entry.parent.name), signal.SIGKILL)
        except OSError:
            continue  # it has ended, or is not ours


class Cluster:
    """An etcd, two control planes, a gateway in front of both, three nodes."""

    def __init__(self, directory):
        self.directory = directory
        self.token, self.admin = secrets.token_hex(16), secrets.token_hex(16)
        self.all = []
        store = "http://" + free_address()
        self.etcd = self._part("etcd", "etcd", "--data-dir", directory / "etcd", "--listen-client", store, "--listen-peer", "http://" + free_address())
        grpc = [free_address() for _ in range(2)]
        secret = {"SIGNALBOX_ADMIN_KEY": self.admin, "SIGNALBOX_CHP_TOKEN": self.token}
        self.planes = [
            self._part(f"cp{i}", "controlplane", "--controlplane-id", f"cp{i}", "--etcd", store, "--grpc-listen", at, "--api-listen", "off", env=secret)
            for i, at in enumerate(grpc)
        ]
        self.api = free_address()
        self.gateway = self._part("gateway", "gateway", "--controlplane", ",".join(grpc), "--api-listen", self.api)
        self.public = [free_address() for _ in range(3)]
        self.nodes = [
            self._part(f"node{i}", "node", "--id", f"node{i}", "--listen", at, "--controlplane", ",".join(grpc),
                       "--drain-timeout", "2s")
            for i, at in enumerate(self.public)
        ]

    def _part(self, name, *args, env=None):
        p = Process(name, self.directory, [PROGRAM, *args], env)
        self.all.append(p)
        return p

    def start(self):
        for p in (self.etcd, *self.planes, self.gateway):
            p.start()
        made = eventually("the cluster takes writes", lambda: self.v1("POST", "/v1/keys", {"key": {"name": "nodes", "scopes": ["node"]}}))
        for n in self.nodes:
            n.env["SIGNALBOX_KEY"] = made.json()["secret"]
            n.start()
        eventually("three nodes are live", lambda: self.live() == 3)

    def live(self):
        known = self.v1("GET", "/v1/nodes").json().get("nodes", [])
        return sum(n["observed"].get("state") == "NODE_STATE_LIVE" for n in known)

    def v1(self, method, path, body=None):
        """A call of Signalbox's own API, by an administrator."""
        return self._call(method, path, self.admin, body)

    def chp(self, method, path, body=None):
        """A call of the CHP API, with the Hub's token."""
        return self._call(method, path, self.token, body)

    def _call(self, method, path, key, body):
        r = requests.request(method, f"http://{self.api}{path}", json=body, headers={"Authorization": f"token {key}"}, timeout=20)
        r.raise_for_status()
        return r

    def routes(self):
        return self.chp("GET", "/api/routes").json()

    def whole(self):
        """Waits until every part is there again and writes reach all nodes."""
        eventually("a write reaches three nodes again", lambda: self.live() == 3 and self._reaches_all())

    def _reaches_all(self):
        done = self.v1("PUT", "/v1/routes/probe?wait=nodes", {"match": {"pathPrefix": "/probe"}, "upstreams": [{"url": "http://127.0.0.1:9"}]})
        return done.json()["result"]["nodesServing"] == 3 and self.v1("DELETE", "/v1/routes/probe?wait=nodes")

    def end(self):
        for p in reversed(self.all):
            p.kill()
