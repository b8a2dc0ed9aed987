FROM busybox
ADD file.txt other.txt /x
