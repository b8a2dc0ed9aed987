FROM busybox
CMDD true
