FROM busybox
COPY --chmod=rwx file.txt /
