FROM busybox
COPY ["file.txt", 7]
