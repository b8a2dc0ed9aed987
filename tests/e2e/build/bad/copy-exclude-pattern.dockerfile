FROM busybox
COPY --exclude=[a dir /x
