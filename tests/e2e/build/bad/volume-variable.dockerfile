FROM busybox
VOLUME ${A:?which}
