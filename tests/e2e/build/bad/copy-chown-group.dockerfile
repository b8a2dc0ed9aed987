FROM busybox
COPY --chown=0:strangers file.txt /x
