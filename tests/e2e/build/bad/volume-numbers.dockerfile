FROM busybox
VOLUME [1]
