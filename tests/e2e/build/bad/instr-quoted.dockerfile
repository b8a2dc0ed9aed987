FROM busybox
"RUN" true
