FROM https://docker.io/busybox
