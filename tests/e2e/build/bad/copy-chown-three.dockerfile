FROM busybox
COPY --chown=a:b:c file.txt /
