FROM busybox
COPY FILE.txt /x
