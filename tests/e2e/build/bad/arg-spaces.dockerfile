FROM busybox
ARG A = 1
