FROM busybox
COPY --from=-1 /x /y
