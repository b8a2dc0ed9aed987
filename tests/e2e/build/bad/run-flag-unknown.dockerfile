FROM busybox
RUN --privileged true
