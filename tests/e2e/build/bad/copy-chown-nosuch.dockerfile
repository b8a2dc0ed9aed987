FROM busybox
COPY --chown=nosuch:nosuch file.txt /
