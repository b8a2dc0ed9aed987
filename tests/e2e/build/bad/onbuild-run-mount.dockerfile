FROM busybox
ONBUILD RUN --mount=type=nosuch true
