FROM busybox
ADD --parents file.txt /
