"""testcontainers: a container for a test's time, waited for by its log, with a port and a network.

Ryuk, the container that removes what a killed test leaves, is an image of a registry and turned off here.
"""

import os

os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"

import urllib.request

from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.waiting_utils import wait_for_logs
import testcontainers.core as core

with Network() as network:
    serving = "mkdir -p /www; echo tested >/www/index.html; echo ready; exec httpd -f -p 80 -h /www"
    with (
        DockerContainer("busybox")
        .with_command(["sh", "-c", serving])
        .with_exposed_ports(80)
        .with_env("MODE", "test")
        .with_network(network)
        .with_network_aliases("web") as container
    ):
        wait_for_logs(container, "ready", timeout=30)
        url = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(80)}/"
        assert urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=20).read() == b"tested\n"
        code, output = container.exec(["sh", "-c", "echo $MODE"])
        assert (code, output) == (0, b"test\n"), (code, output)
        with DockerContainer("busybox").with_command(["wget", "-q", "-O", "-", "http://web/"]).with_network(network) as other:
            wait_for_logs(other, "tested", timeout=30)
print("testcontainers: a port, a network, exec, logs waited for")
