FROM busybox AS one
FROM busybox
RUN --mount=from=one,source=/nosuch,target=/x true
