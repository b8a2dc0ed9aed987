FROM busybox
COPY --chmod=u~x file.txt /
