FROM busybox
COPY file.txt /bin/busybox/x
