FROM busybox
USER root:nosuch
RUN true
