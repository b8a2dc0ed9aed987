FROM busybox
RUN --mount=source=file.txt,target=/tmp true
