FROM busybox
RUN true
; echo
