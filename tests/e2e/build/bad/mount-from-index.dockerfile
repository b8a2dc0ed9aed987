FROM busybox
RUN --mount=from=5,target=/x true
