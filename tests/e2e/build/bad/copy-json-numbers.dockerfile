FROM busybox
COPY [1, "b"]
