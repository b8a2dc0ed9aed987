FROM busybox
IMPORT x
