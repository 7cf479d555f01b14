"""JupyterHub on a cluster of Signalbox.

scripts/jupyterhub runs this with Debian's pytest. Everything is real: the Hub,
its users' servers, and bin/signalbox as an etcd, two control planes, a gateway
and three nodes. Tests share one cluster and one Hub, and leave both whole.

SIGNALBOX_E2E_USERS says how many users come at once (60).
"""

import signal
import sys

import pytest

sys.path.insert(0, __file__.rpartition("/")[0])

from hub import cluster_hub  # noqa: E402
from processes import Cluster, Process  # noqa: E402


def pytest_configure():
    """Ends what was started also when the tests are ended for taking too long."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    c = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        c.start()
        yield c
    finally:
        c.end()


@pytest.fixture(scope="session")
def hub(cluster, tmp_path_factory):
    h = cluster_hub(tmp_path_factory.mktemp("hub"), cluster)
    try:
        h.start()
        yield h
    finally:
        h.end()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Shows the ends of the logs with a failure."""
    report = (yield).get_result()
    if report.failed:
        used = list(item.funcargs.values())
        for part in used + getattr(item.funcargs.get("cluster"), "all", []):
            if isinstance(part, Process):
                report.sections.append((part.name, part.tail()))
