FROM busybox
EXPOSE 80/tcp/udp
