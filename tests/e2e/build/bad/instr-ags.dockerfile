AGR V=1
FROM busybox
