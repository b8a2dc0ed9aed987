FROM busybox
RUN --mount=type=tmpfs,target=/proc/x true
