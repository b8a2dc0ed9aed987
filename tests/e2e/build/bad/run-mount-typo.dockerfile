FROM busybox
RUN --mount=typ=cache,target=/x true
