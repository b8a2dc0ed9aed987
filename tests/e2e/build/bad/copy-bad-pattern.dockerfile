FROM busybox
COPY [a-z /x
