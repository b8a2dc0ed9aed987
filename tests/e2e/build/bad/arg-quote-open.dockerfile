FROM busybox
ARG A="x
