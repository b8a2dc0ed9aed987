FROM busybox
COPY --chown=stranger file.txt /x
