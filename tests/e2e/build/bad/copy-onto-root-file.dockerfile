FROM busybox
COPY dir file.txt /bin/sh
