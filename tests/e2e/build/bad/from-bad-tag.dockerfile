FROM busybox:a b
