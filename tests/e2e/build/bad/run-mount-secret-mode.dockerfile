FROM busybox
RUN --mount=type=secret,id=a,mode=rw true
