FROM busybox
LABEL a=${B
