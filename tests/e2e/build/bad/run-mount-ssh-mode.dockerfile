FROM busybox
RUN --mount=type=ssh,mode=9 true
