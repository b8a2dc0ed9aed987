FROM busybox
COPY Dir /x
