"""A JupyterHub from Debian's package, and the browsers of its users."""

import os
import pathlib
import re
import secrets
import subprocess
import sys

import requests

from processes import PATIENCE, ROOT, Process, eventually, free_address, kill_marked

PYTHON = "/usr/bin/python3"  # the one that Debian's packages are for
STUB = pathlib.Path(__file__).with_name("stub.py")


def documented(title, **addresses):
    """The configuration that docs/jupyterhub.md shows under a title.

    It is run word for word, but for the addresses, which are free ones here.
    """
    text = (ROOT / "docs/jupyterhub.md").read_text()
    found = re.search(rf"```python\n# {re.escape(title)}\n(.*?)```", text, re.S)
    assert found, f"docs/jupyterhub.md has no configuration {title!r}"
    config = found.group(1)
    for shown, real in addresses.items():
        shown = shown.replace("at_", "127.0.0.1:")
        assert shown in config, f"the configuration {title!r} does not have {shown}"
        config = config.replace(shown, real)
    return config


def run(title, language, env, *args, **addresses):
    """Runs what the documentation shows, and returns what it printed."""
    text = (ROOT / "docs/jupyterhub.md").read_text()
    found = re.search(rf"^( *)```{language}\n *# {re.escape(title)}\n(.*?)^ *```", text, re.S | re.M)
    assert found, f"docs/jupyterhub.md does not show {title!r}"
    script = re.sub(rf"^{found.group(1)}", "", found.group(2), flags=re.M)
    for shown, real in addresses.items():
        assert shown.replace("at_", "127.0.0.1:") in script
        script = script.replace(shown.replace("at_", "127.0.0.1:"), real)
    program = [sys.executable, "-c"] if language == "python" else ["/bin/bash", "-euc"]
    done = subprocess.run([*program, script, *args], env=os.environ | env, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout


# What every Hub here has beside what the documentation shows: users without
# passwords, servers as plain processes, a service that may do what tests do,
# and little patience.
TESTING = """
c.JupyterHub.authenticator_class = "dummy"
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {home!r} + "/{{username}}"
c.Spawner.environment = {{"PATH": "/usr/bin:/bin", "MARK": {mark!r}}}
c.Spawner.args = ["--allow-root"]
c.Spawner.http_timeout = c.Spawner.start_timeout = 60
c.Spawner.poll_interval = 5
c.JupyterHub.cookie_secret_file = {home!r} + "/cookie_secret"
c.JupyterHub.db_url = "sqlite:///" + {home!r} + "/jupyterhub.sqlite"
c.JupyterHub.last_activity_interval = 2
c.JupyterHub.concurrent_spawn_limit = 0
c.JupyterHub.allow_named_servers = True
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 3, "slow_stop_timeout": 3}}
c.JupyterHub.services = [{{"name": "tests", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [{{"name": "tests", "services": ["tests"], "scopes": [
    "admin:users", "admin:servers", "access:servers", "tokens", "proxy", "read:hub", "read:metrics"]}}]
def stub(spawner):
    if not spawner.user.name.startswith("real"):
        spawner.cmd, spawner.args = [{python!r}, "-I", "-S", {stub!r}], []
c.Spawner.pre_spawn_hook = stub
"""


class Hub(Process):
    """A Hub, asked at its own address or through whatever serves public traffic."""

    def __init__(self, name, directory, config, address, public, env=None):
        home = directory / f"{name}-home"
        home.mkdir()
        self.token, self.mark = secrets.token_hex(16), secrets.token_hex(8)
        testing = TESTING.format(home=str(home), mark=self.mark, token=self.token, python=PYTHON, stub=str(STUB))
        file = directory / f"{name}_config.py"
        file.write_text(config + testing)
        super().__init__(name, home, [PYTHON, "-m", "jupyterhub", "-f", file], {"PATH": f"/usr/bin:/bin:{ROOT}/bin"} | (env or {}))
        self.address, self.public = address, public

    def start(self):
        super().start()
        eventually(f"{self.name} answers", self._answers)
        return self

    def _answers(self):
        if not self.running():
            raise RuntimeError(f"{self.name} has ended\n{self.tail()}")
        return requests.get(f"http://{self.address}/hub/api", timeout=5).ok

    def end(self):
        if self.running():
            self.kill()
        kill_marked(self.mark)

    def api(self, method, path, body=None, at=None):
        """A call of the Hub's API, by the service that may do everything."""
        return requests.request(method, f"http://{at or self.address}/hub/api{path}", json=body,
                                headers={"Authorization": f"token {self.token}"}, timeout=PATIENCE)

    def user(self, name):
        return self.api("GET", f"/users/{name}").json()

    def server(self, name):
        """A user's server as the Hub knows it; none is {}."""
        return self.user(name).get("servers", {}).get("", {})

    def spawn(self, name, wait=True):
        """Starts a user's server, and waits until it is ready."""
        self.api("POST", f"/users/{name}")
        r = self.api("POST", f"/users/{name}/server")
        assert r.status_code in (201, 202), r.text
        if wait:
            eventually(f"{name}'s server is ready", lambda: self.server(name).get("ready"))
        return r

    def leave(self, name):
        """Stops a user's server, and waits until it is gone."""
        self.api("DELETE", f"/users/{name}/server")
        eventually(f"{name}'s server is gone", lambda: not self.server(name))


class Browser(requests.Session):
    """A user's browser. Its cookies are for 127.0.0.1, so for every node."""

    def __init__(self, user):
        super().__init__()
        self.user = user

    def at(self, address, path):
        return self.get(f"http://{address}{path}", timeout=PATIENCE)

    def log_in(self, address):
        r = self.post(f"http://{address}/hub/login?next=/hub/home", data={"username": self.user, "password": "any"}, timeout=PATIENCE)
        assert r.status_code == 200 and r.url.endswith("/hub/home"), f"{self.user} is not logged in: {r.status_code} {r.url}"

    def cookie_header(self):
        return {"Cookie": "; ".join(f"{c.name}={c.value}" for c in self.cookies)}


def cluster_hub(directory, cluster):
    """The Hub that docs/jupyterhub.md puts in front of a cluster."""
    address = free_address()
    config = documented("jupyterhub_config.py, cluster", at_8001=cluster.api, **{"10.0.0.5": "127.0.0.1", "hub_port = 8081": f"hub_port = {address.split(':')[1]}"})
    return Hub("hub", directory, config, address, cluster.public[0], {"CONFIGPROXY_AUTH_TOKEN": cluster.token})
