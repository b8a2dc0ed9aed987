FROM busybox
RUN --device= true
