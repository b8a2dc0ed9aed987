FROM busybox
COPY []
