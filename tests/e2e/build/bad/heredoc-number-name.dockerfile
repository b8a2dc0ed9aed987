FROM busybox
COPY <<1 /x
a
2
