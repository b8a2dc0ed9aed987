FROM busybox
ENV A=${B:-${C}
