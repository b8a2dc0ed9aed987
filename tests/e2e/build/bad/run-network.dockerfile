FROM busybox
RUN --network=lan true
