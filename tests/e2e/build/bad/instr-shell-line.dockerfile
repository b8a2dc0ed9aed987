FROM busybox
RUN true
set -e
