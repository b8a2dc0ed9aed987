FROM busybox
RUN true
BELL
