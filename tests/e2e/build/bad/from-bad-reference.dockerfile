FROM busybox::1
