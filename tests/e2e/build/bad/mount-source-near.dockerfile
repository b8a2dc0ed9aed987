FROM busybox
RUN --mount=source=fiel.txt,target=/x true
