LABEL a=b
FROM busybox
