FROM busybox
RUN true # fine
ECHO x
