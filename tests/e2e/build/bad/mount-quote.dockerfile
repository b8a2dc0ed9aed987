FROM busybox
RUN --mount="target=/x true
