FROM busybox
COPY dri/inner.txt /x
