FROM busybox
ADD --chmod=abc file.txt /
