FROM busybox
WROKDIR /x
