FROM busybox
RUN --mount=type=cache,tarjet=/x true
