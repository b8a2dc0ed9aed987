FROM busybox
COPY ignored.log /x
