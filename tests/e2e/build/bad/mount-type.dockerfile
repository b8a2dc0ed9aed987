FROM busybox
RUN --mount=type=bnid,target=/x true
