FROM busybox
ADD a
