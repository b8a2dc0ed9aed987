FROM busybox
COPY ${x:+ /b
