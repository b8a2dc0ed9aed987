FROM busybox
CMD --nosuch
COPY
