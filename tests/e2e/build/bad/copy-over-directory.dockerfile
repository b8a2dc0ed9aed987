FROM busybox
RUN mkdir -p /d/file.txt
COPY file.txt /d/
