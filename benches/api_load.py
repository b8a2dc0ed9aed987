#!/usr/bin/env python3
"""Loads `coracle serve` and looks at the others meanwhile: api_load.py PROGRAM.

1,000 requests that wait (`events`), 200 readers that do not read, 500 connections that never finish their request's
head; then pings are timed, and memory, descriptors and threads read. Ends by itself; its root is thrown away.
"""

import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time

program = sys.argv[1]
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
home = tempfile.mkdtemp(prefix="coracle-load-")
path = os.path.join(home, "docker.sock")
environment = dict(os.environ, CORACLE_ROOT=home + "/root", CORACLE_RUN_ROOT=home + "/run")
server = subprocess.Popen([program, "serve", "-H", "unix://" + path], env=environment, stderr=subprocess.DEVNULL)


def connect():
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(30)
    stream.connect(path)
    return stream


def ask(what):
    stream = connect()
    stream.sendall(f"GET {what} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    answer = b""
    while piece := stream.recv(65536):
        answer += piece
    return answer


def state():
    pid = server.pid
    status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status"))
    return f"{int(status['VmRSS'].split()[0]) >> 10} MB, {len(os.listdir(f'/proc/{pid}/fd'))} descriptors, {status['Threads'].strip()} threads"


def timed(name, what="/_ping", count=200):
    times = []
    for _ in range(count):
        start = time.perf_counter()
        assert ask(what).startswith(b"HTTP/1.1 200"), name
        times.append((time.perf_counter() - start) * 1000)
    times.sort()
    print(f"{name}: {what} median {times[len(times) // 2]:.1f} ms, slowest {times[-1]:.1f} ms; {state()}", flush=True)
    return times[-1]


try:
    for _ in range(500):
        if os.path.exists(path):
            break
        time.sleep(0.02)
    timed("alone")
    waiting = []
    for number in range(1000):
        stream = connect()
        stream.sendall(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n")
        assert stream.recv(12) == b"HTTP/1.1 200", number
        waiting.append(stream)
    slowest = timed("1000 waiting")
    slowest = max(slowest, timed("1000 waiting", "/containers/json"))
    dawdlers = []
    for _ in range(500):
        stream = connect()
        stream.sendall(b"GET /_ping HTTP/1.1\r\nhost: x\r\nx-slow")
        dawdlers.append(stream)
    slowest = max(slowest, timed("and 500 dawdlers"))
    deaf = []
    for _ in range(200):
        stream = connect()
        stream.sendall(b"GET /info HTTP/1.1\r\nhost: x\r\n\r\n" * 20)
        deaf.append(stream)
    slowest = max(slowest, timed("and 200 that do not read"))
    for stream in waiting + dawdlers + deaf:
        stream.close()
    time.sleep(4)
    timed("after all have gone")
    print("kept" if slowest < 100 else "NOT KEPT", f"other calls within 100 ms: {slowest:.1f} ms")
finally:
    server.terminate()
    server.wait()
    subprocess.run([program, "system", "prune", "-af", "--volumes"], env=environment, stdout=subprocess.DEVNULL)
    shutil.rmtree(home, ignore_errors=True)
