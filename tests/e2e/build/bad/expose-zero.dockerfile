FROM busybox
EXPOSE 70000/udp
