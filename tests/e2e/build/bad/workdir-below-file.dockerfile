FROM busybox
WORKDIR /bin/busybox/x
