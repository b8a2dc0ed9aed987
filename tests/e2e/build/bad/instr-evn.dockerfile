FROM busybox
EVN A=1
