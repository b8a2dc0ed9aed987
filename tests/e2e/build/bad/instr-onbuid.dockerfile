FROM busybox
ONBUID RUN true
