FROM busybox
LABLE a=b
