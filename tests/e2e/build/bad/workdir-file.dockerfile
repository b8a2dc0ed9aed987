FROM busybox
WORKDIR /bin/busybox
