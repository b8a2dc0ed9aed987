ARG V
FROM busybox:${V:?say which}
