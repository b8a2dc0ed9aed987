FROM busybox
ENV=a
