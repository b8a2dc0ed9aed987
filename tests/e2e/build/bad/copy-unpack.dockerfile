FROM busybox
COPY --unpack file.txt /
