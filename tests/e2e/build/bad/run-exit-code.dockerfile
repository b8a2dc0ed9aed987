FROM busybox
RUN exit 42
