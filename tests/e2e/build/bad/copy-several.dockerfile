FROM busybox
COPY file.txt other.txt /x
