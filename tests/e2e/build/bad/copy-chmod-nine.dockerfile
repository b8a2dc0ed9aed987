FROM busybox
COPY --chmod=99 file.txt /
