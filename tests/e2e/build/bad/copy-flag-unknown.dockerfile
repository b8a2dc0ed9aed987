FROM busybox
COPY --recursive a b
