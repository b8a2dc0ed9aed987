FROM busybox:a:b
