# syntax=docker/dockerfile:1
# syntax=docker/dockerfile:1
FROM busybox
