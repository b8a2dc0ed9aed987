FROM busybox
COPY flie.txt /x
