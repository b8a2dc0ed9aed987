FROM busybox
export A=1
