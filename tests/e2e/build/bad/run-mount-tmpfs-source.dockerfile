FROM busybox
RUN --mount=type=tmpfs,source=x,target=/x true
