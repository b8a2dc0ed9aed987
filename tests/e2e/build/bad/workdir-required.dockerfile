FROM busybox
WORKDIR ${A:?where}
