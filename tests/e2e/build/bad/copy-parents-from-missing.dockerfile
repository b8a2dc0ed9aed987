FROM busybox
COPY --parents nosuch/deep.txt /x/
