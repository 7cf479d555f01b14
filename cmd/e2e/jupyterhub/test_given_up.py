"""What a Hub does when the proxy's API fails for good: what is waited for in
each case is half a minute, and so all cases are at once, each with a user."""

import pytest
import requests

from processes import PATIENCE, eventually
from relay import Relay


@pytest.fixture
def relay(cluster, hub):
    def move(api):
        hub.api("PATCH", "/proxy", {"api_url": f"http://{api}", "auth_token": cluster.token}).raise_for_status()

    with Relay(cluster.api) as r:
        move(r.address)
        try:
            yield r
        finally:
            r.faults.clear()
            move(cluster.api)


# How often a call is made before the Hub gives it up, at least and at most: a
# status below 500 is not tried again, and one that is silent takes 10 s.
TRIES = {"refused": (403, 1, 1), "failing": (503, 4, 99), "dropped": ("drop", 4, 99), "silent": ("silent", 2, 5)}


def test_spawns_and_stops_that_the_api_fails_for_good_are_given_up(cluster, hub, relay):
    hub.spawn("staying")
    relay.faults[("DELETE", "/user/staying")] = 503
    for name, (fault, _, _) in TRIES.items():
        relay.faults[("POST", f"/user/{name}")] = fault
        hub.spawn(name, wait=False)
    assert hub.api("DELETE", "/users/staying/server").status_code == 202

    for name, (_, least, most) in TRIES.items():
        eventually(f"the Hub gives up, and stops the server of {name}", lambda: not hub.server(name))
        assert least <= relay.failed[f"/user/{name}"] <= most, (name, relay.failed)
        assert f"/user/{name}" not in cluster.routes()

    def given_up():
        server = hub.server("staying")
        return server.get("ready") and not server.get("pending")

    eventually("the Hub gives the stop up", given_up)
    assert relay.failed["/user/staying"] >= 4
    for node in cluster.public:  # the server and its route are still there
        assert requests.get(f"http://{node}/user/staying/whoami", timeout=PATIENCE).text == "staying /user/staying/whoami\n", node

    relay.faults.clear()
    hub.leave("staying")
    hub.spawn("failing")
    hub.leave("failing")
