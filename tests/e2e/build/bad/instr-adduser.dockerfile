FROM busybox
ADDUSER me
