FROM busybox
VOLUME ["/a"
VOLUME
