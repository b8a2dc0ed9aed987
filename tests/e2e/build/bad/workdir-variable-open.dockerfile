FROM busybox
WORKDIR ${A
