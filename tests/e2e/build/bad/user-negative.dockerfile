FROM busybox
USER -1
RUN true
