FROM busybox
COPY nosuch.txt /
