"""pgbench in a container against pgbench on the host: the same programs, the same filesystem, one after the other."""

import glob
import os
import shlex
import statistics
import subprocess
import traffic

SCALE = 10
SETTINGS = "-c listen_addresses='' -c unix_socket_directories=/tmp -c shared_buffers=256MB"


def measure(bench, rounds=3, seconds=10):
    """Transactions a second of a database and its client in one place."""
    binaries = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not binaries:
        print("pgbench: PostgreSQL is not installed", flush=True)
        return
    # A directory of the host's for the host, a volume of its own for each engine; all below the same directory.
    data = bench.path("host-database")
    os.makedirs(data)
    subprocess.run(["chown", "postgres:postgres", data], check=True)
    os.chmod(bench.directory, 0o711)
    places = {"host": lambda script: on_host(script, data)}
    for engine in bench.engines:
        engine("volume", "create", "bench-database")
        places[engine.name] = lambda script, engine=engine: in_container(engine, script)
    for place in places.values():
        place(script(binaries[-1], "initialise"))
    for title, flags in [("select only", "-S"), ("TPC-B", "-N")]:
        samples = {name: [] for name in places}
        for _ in range(rounds):
            for name, place in places.items():
                said = place(script(binaries[-1], f"pgbench -h /tmp -n {flags} -c 4 -j 2 -T {seconds} bench"))
                rates = [line for line in said.splitlines() if line.startswith("tps = ")]
                samples[name].append(float(rates[-1].split()[2]))
        medians = {name: statistics.median(values) for name, values in samples.items()}
        share = {name: value / medians["host"] * 100 for name, value in medians.items() if name != "host"}
        bench.note(f"pgbench, {title}, % of the host's transactions", share)
    for engine in bench.engines:
        engine("volume", "rm", "bench-database")


def script(binaries, work):
    """Starts a database, does the work, and stops it."""
    begin = f"export PATH={binaries}:$PATH PGDATA=$DATA LC_ALL=C; "
    if work == "initialise":
        begin += "initdb -A trust >/dev/null; "
        work = f"createdb -h /tmp bench; pgbench -h /tmp -q -i -s {SCALE} bench 2>&1"
    return (f"set -e; {begin} pg_ctl -s -w -l /tmp/bench-database.log -o {shlex.quote(SETTINGS)} start; "
            f"{work}; pg_ctl -s -m fast stop; rm -f /tmp/bench-database.log")


def on_host(text, data):
    command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "env", f"DATA={data}", "bash", "-c", text]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/tmp")
    if done.returncode:
        raise SystemExit(f"pgbench on the host failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def in_container(engine, text):
    prepare = "chown postgres:postgres /data && exec setpriv --reuid=postgres --regid=postgres --init-groups bash -c \"$0\""
    return engine("run", "--rm", *engine.run, *traffic.host_programs(), "-v", "bench-database:/data", "-e", "DATA=/data/pg",
                  "--shm-size", "512m", "hosts-programs", "bash", "-c", prepare, text)
