FROM busybox
RUN --mount=type=ssh,required=yes true
