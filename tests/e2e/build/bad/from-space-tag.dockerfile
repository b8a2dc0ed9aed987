FROM busybox: latest
