FROM busybox
COPY --parents=perhaps file.txt /x/
