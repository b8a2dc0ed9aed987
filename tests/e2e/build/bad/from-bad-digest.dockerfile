FROM busybox@sha256:12
