FROM busybox
COPY --keep-git-dir=true file.txt /
