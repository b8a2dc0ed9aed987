"""docker-py: a user's whole job, from the first ping to the last prune. Anything unexpected is an exception."""

import io
import tarfile
import threading

import docker

client = docker.from_env()
assert client.ping()
assert client.version()["ApiVersion"]
assert client.info()["OSType"] == "linux"

# A container in the foreground, its output and its failure.
assert client.containers.run("busybox", ["echo", "hello"], remove=True) == b"hello\n"
try:
    client.containers.run("busybox", ["sh", "-c", "echo wrong >&2; exit 3"], remove=True)
    raise AssertionError("it must fail")
except docker.errors.ContainerError as error:
    assert error.exit_status == 3 and b"wrong" in error.stderr, error
try:
    client.containers.get("nothing-of-this-name")
    raise AssertionError("it is not there")
except docker.errors.NotFound as error:
    assert "No such container" in str(error), error

# A volume, limits, an environment, labels; what inspect says of them.
volume = client.volumes.create("docker-py-data", labels={"job": "test"})
container = client.containers.run(
    "busybox",
    ["sh", "-c", "echo begun; echo $DAY >/data/day; trap 'exit 0' TERM; while :; do sleep 0.1; done"],
    name="docker-py-job",
    detach=True,
    environment={"DAY": "2022-02-05"},
    volumes={"docker-py-data": {"bind": "/data", "mode": "rw"}},
    mem_limit="64m",
    labels={"job": "test"},
    tmpfs={"/scratch": "size=1m"},
    ports={"80/tcp": ("127.0.0.1", None)},
    restart_policy={"Name": "on-failure", "MaximumRetryCount": 2},
)
container.reload()
assert container.status == "running", container.status
attributes = container.attrs
assert attributes["HostConfig"]["Memory"] == 64 << 20
assert attributes["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
assert "DAY=2022-02-05" in attributes["Config"]["Env"]
assert attributes["NetworkSettings"]["Ports"]["80/tcp"][0]["HostIp"] == "127.0.0.1"
assert [found.name for found in client.containers.list(filters={"label": "job=test"})] == ["docker-py-job"]
for line in container.logs(stream=True, follow=True):
    assert line == b"begun\n", line
    break

# exec: its code, both streams apart, its environment, a socket of one's own.
code, output = container.exec_run(["cat", "/data/day"])
assert (code, output) == (0, b"2022-02-05\n"), (code, output)
code, (out, err) = container.exec_run(["sh", "-c", "echo out; echo err >&2; exit 7"], demux=True)
assert (code, out, err) == (7, b"out\n", b"err\n"), (code, out, err)
assert container.exec_run("env", environment=["A=b"]).output.count(b"A=b\n") == 1
identity = client.api.exec_create(container.id, ["cat"], stdin=True)["Id"]
socket = client.api.exec_start(identity, socket=True)
raw = getattr(socket, "_sock", socket)
raw.sendall(b"through\n")
raw.shutdown(1)
answer = b""
while chunk := raw.recv(4096):
    answer += chunk
assert answer.endswith(b"through\n") and answer[0] == 1, answer
raw.close()

# Files in and out.
archive = io.BytesIO()
with tarfile.open(fileobj=archive, mode="w") as tar:
    entry = tarfile.TarInfo("note")
    entry.size = 5
    tar.addfile(entry, io.BytesIO(b"noted"))
assert container.put_archive("/data", archive.getvalue())
stream, stat = container.get_archive("/data/note")
assert stat["name"] == "note" and stat["size"] == 5, stat
with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
    assert tar.extractfile("note").read() == b"noted"
assert {"Path": "/data", "Kind": 1} in container.diff() or container.diff() is not None
assert any("sleep" in " ".join(row) or "sh" in " ".join(row) for row in container.top()["Processes"])
stats = container.stats(stream=False)
assert stats["memory_stats"]["usage"] > 0 and "cpu_stats" in stats
container.pause()
container.reload()
assert container.status == "paused"
container.unpause()
container.rename("docker-py-renamed")

# Events, seen while they happen.
seen = []
events = client.events(decode=True, filters={"container": container.id})
reader = threading.Thread(target=lambda: [seen.append(event["Action"]) for event in events])
reader.start()
import time; time.sleep(0.3)
container.stop(timeout=5)
assert container.wait()["StatusCode"] == 0
container.remove()
deadline = time.time() + 20
while "destroy" not in seen and time.time() < deadline:
    time.sleep(0.05)
events.close()
assert {"die", "destroy"} <= set(seen), seen

# An attached container with input.
container = client.containers.create("busybox", ["cat"], stdin_open=True)
socket = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
container.start()
raw = getattr(socket, "_sock", socket)
raw.sendall(b"said\n")
raw.shutdown(1)
answer = b""
while chunk := raw.recv(4096):
    answer += chunk
assert answer.endswith(b"said\n"), answer
raw.close()
container.wait()
container.remove()

# An image: built, listed, tagged, saved, loaded, committed, removed.
dockerfile = io.BytesIO(b"FROM busybox\nRUN echo made >/made\nLABEL by=docker-py\nCMD [\"cat\", \"/made\"]\n")
image, log = client.images.build(fileobj=dockerfile, tag="docker-py:1", rm=True)
assert any("Successfully built" in entry.get("stream", "") for entry in log)
assert client.containers.run("docker-py:1", remove=True) == b"made\n"
assert image.tag("docker-py", "2") and image.labels == {"by": "docker-py"}
saved = b"".join(image.save(named="docker-py:1"))
client.images.remove("docker-py:2")
client.images.remove("docker-py:1")
try:
    client.images.get("docker-py:1")
    raise AssertionError("it was removed")
except docker.errors.ImageNotFound:
    pass
loaded = client.images.load(saved)
assert loaded[0].tags == ["docker-py:1"], loaded[0].tags
assert len(image.history()) >= 2

# Two containers on a network find each other by name.
network = client.networks.create("docker-py-net", driver="bridge")
server = client.containers.run("busybox", ["sleep", "60"], name="docker-py-server", network="docker-py-net", detach=True)
found = client.containers.run("busybox", ["sh", "-c", "getent hosts docker-py-server || nslookup docker-py-server"], network="docker-py-net", remove=True)
assert found, found
server.remove(force=True)
network.remove()
volume.remove()
client.images.remove("docker-py:1")
assert client.containers.prune() is not None
assert client.df()
print(f"docker-py {docker.__version__}: containers, exec, attach, archives, events, images, networks, volumes")
