#!/usr/bin/env bash
# Compose, version 1 or 2: an application of two services, a network, a volume and a build, from up to down:
# `compose.sh COMMAND`.
set -euo pipefail
compose=$1
there=$(mktemp -d)
trap 'cd /; rm -rf "$there"' EXIT
cd "$there"
mkdir web
printf 'FROM busybox\nRUN mkdir -p /www\nCOPY index.html /www/\nCMD ["httpd", "-f", "-p", "80", "-h", "/www"]\n' >web/Dockerfile
echo 'served by compose' >web/index.html
cat >docker-compose.yml <<'YAML'
version: "3.7"
services:
  web:
    build: ./web
    ports: ["127.0.0.1::80"]
    environment:
      MODE: test
    labels: ["part=web"]
    volumes: ["data:/data"]
  client:
    image: busybox
    command: ["sh", "-c", "until wget -q -O /data/page http://web/index.html; do sleep 0.2; done; cat /data/page; sleep 1000"]
    depends_on: [web]
    volumes: ["data:/data"]
    stop_grace_period: 1s
volumes:
  data:
YAML
run() { $compose -p composed "$@"; }
trap 'run down -v --rmi local >/dev/null 2>&1 || true; cd /; rm -rf "$there"' EXIT
run config >/dev/null
run build
run up -d
for _ in $(seq 100); do
  run logs client 2>&1 | grep -q 'served by compose' && break
  sleep 0.2
done
run logs client | grep 'served by compose'
run ps | grep -i web
[ "$(run ps -q | wc -l)" = 2 ]
address=$(run port web 80)
wget -q -O - "http://$address/" | grep 'served by compose'
[ "$(run exec -T web sh -c 'echo $MODE')" = test ]
run restart web
run stop client
run start client
run up -d --scale client=2
[ "$(run ps -q client | wc -l)" = 2 ]
run run --rm -T client sh -c 'echo one-off' | grep one-off
run down -v --rmi local
[ -z "$(run ps -q)" ]
echo "$($compose version --short): build, up, logs, ps, port, exec, restart, scale, run, down"
