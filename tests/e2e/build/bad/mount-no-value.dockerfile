FROM busybox
RUN --mount=type=cache,/x true
