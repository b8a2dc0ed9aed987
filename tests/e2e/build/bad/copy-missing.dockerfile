FROM busybox
COPY nosuch /x
