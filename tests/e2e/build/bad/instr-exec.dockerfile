FROM busybox
EXEC sh
