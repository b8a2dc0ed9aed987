FROM busybox
EXPOS 80
