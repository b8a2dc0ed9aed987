"""What a network costs those who use it: looking up a name, and bytes through a published port."""

import json
import os
import shutil
import statistics
import subprocess
import time

# iperf3's default port.
PORT = 5201


def measure_names(bench, rounds=5, lookups=2000):
    """The time of one look-up of another container's name, in microseconds."""
    medians = {}
    for engine in bench.engines:
        engine("network", "create", "bench-names")
        engine("run", "-d", "--name", "server", *engine.run, "--network", "bench-names", "busybox", "sleep", "1000")
    samples = {engine.name: [] for engine in bench.engines}
    for _ in range(rounds):
        for engine in bench.engines:
            said = engine("run", "--rm", *engine.run, "--network", "bench-names", "busybox", "lookup", "server",
                          str(lookups))
            samples[engine.name].append(float(said.split()[-2]))
    for engine in bench.engines:
        medians[engine.name] = statistics.median(samples[engine.name])
        engine("rm", "-f", "server")
        engine("network", "rm", "bench-names")
    bench.note("look-up of a container's name, µs", medians)


def measure_throughput(bench, rounds=5, seconds=3):
    """Bytes from the host into a container: straight to its address, and through a published port on an address of
    the host's that is not loopback, which Docker's proxy has no part in."""
    host = host_address()
    if not shutil.which("iperf3") or not host:
        print("throughput: iperf3 or a host address is missing", flush=True)
        return
    targets = {}
    for engine in bench.engines:
        engine("run", "-d", "--name", "iperf", *engine.run, "-p", f"{PORT}", *host_programs(), "hosts-programs",
               "iperf3", "-s")
        published = engine("port", "iperf", f"{PORT}/tcp").splitlines()[0].rsplit(":", 1)[1]
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        direct = engine("inspect", "--format", form, "iperf").strip()
        targets[engine.name] = {"direct": (direct, str(PORT)), "published": (host, published)}
    for way in ["direct", "published"]:
        samples = {engine.name: [] for engine in bench.engines}
        for _ in range(rounds):
            for engine in bench.engines:
                samples[engine.name].append(gigabits(*targets[engine.name][way], seconds))
        medians = {name: statistics.median(values) for name, values in samples.items()}
        bench.note(f"throughput to a container, {way}, Gbit/s", medians)
    for engine in bench.engines:
        engine("rm", "-f", "iperf")


def gigabits(address, port, seconds):
    command = ["iperf3", "-c", address, "-p", port, "-t", str(seconds), "-J"]
    for _ in range(50):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 1e9
        time.sleep(0.1)
    raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def host_address():
    """An address of this host's by which it goes out."""
    route = subprocess.run(["ip", "-j", "route", "get", "192.0.2.1"], capture_output=True, text=True)
    return json.loads(route.stdout)[0].get("prefsrc") if route.returncode == 0 else None


def host_programs():
    """Mounts that give a container the host's own programs: what runs in it is the very same binary."""
    return ["-v", "/usr:/usr:ro", "-v", "/etc/alternatives:/etc/alternatives:ro"]


def load_hosts_programs(bench):
    """Makes an image that has nothing but the places for the host's programs."""
    root = bench.path("hosts-programs")
    for directory in ["usr", "etc/alternatives", "tmp", "run", "var/tmp", "data"]:
        os.makedirs(f"{root}/{directory}")
    for link in ["bin", "sbin", "lib", "lib64"]:
        if os.path.isdir("/" + link):
            os.symlink("usr/" + link, f"{root}/{link}")
    os.chmod(root + "/tmp", 0o1777)
    shutil.copy("/etc/passwd", root + "/etc/passwd")
    shutil.copy("/etc/group", root + "/etc/group")
    archive = bench.path("hosts-programs.tar")
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
    for engine in bench.engines:
        engine("import", "--change", 'CMD ["sh"]', archive, "hosts-programs:latest")
