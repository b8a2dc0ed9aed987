FROM busybox
INCLUDE other
