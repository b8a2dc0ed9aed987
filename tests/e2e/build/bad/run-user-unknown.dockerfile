FROM busybox
USER nobody-knows
RUN true
