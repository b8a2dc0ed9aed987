FROM busybox
COPY ../outside /x
