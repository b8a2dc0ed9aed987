#!/usr/bin/env bash
# The docker client: the tutorial as it is typed, with an image of its own instead of one from a registry.
set -euo pipefail
there=$(mktemp -d)
trap 'cd /; rm -rf "$there"; docker rm -f from-docker >/dev/null 2>&1 || true' EXIT
cd "$there"
export DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0}
docker run --rm hello-world | grep -i hello
printf 'echo "job finished successfully for day = $1"\n' >pipeline.sh
printf 'FROM busybox\nWORKDIR /app\nCOPY pipeline.sh pipeline.sh\nENTRYPOINT ["sh", "pipeline.sh"]\n' >Dockerfile
docker build -t test:job .
docker image ls | grep -E '^test +job'
[ "$(docker run --rm test:job 2022-02-05)" = 'job finished successfully for day = 2022-02-05' ]
# A terminal of its own, as `run -it` wants it.
script -qec 'docker run -it --rm busybox sh -c "tty; stty size"' /dev/null | grep /dev/pts
docker run -d --name from-docker busybox sleep 1000
docker exec from-docker sh -c 'echo inside >/note'
docker cp from-docker:/note .
[ "$(cat note)" = inside ]
docker diff from-docker | grep 'A /note'
docker commit from-docker test:committed
[ "$(docker run --rm test:committed cat /note)" = inside ]
echo piped | docker run -i --rm busybox cat | grep piped
docker stats --no-stream --format '{{.Name}}' | grep from-docker
docker stop -t 1 from-docker
docker events --since 1h --until "$(date -d '+1 second' +%s)" --filter container=from-docker --format '{{.Action}}' | grep -x die
docker rm from-docker
docker save test:job | docker load
docker rmi test:job test:committed hello-world
docker system df
echo "docker $(docker version --format '{{.Client.Version}}'): run, build, exec, cp, commit, stats, events, save, load"
