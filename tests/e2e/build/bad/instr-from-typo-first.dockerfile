FORM busybox
RUN true
