FROM busybox
ENV A=${B:?needed}
