FROM busybox
COPY --chmod=77777 file.txt /x
