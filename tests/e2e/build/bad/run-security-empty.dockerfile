FROM busybox
RUN --security= true
