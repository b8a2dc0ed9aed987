FROM busybox
ADD --checksum=md5:00 https://127.0.0.1:1/x /
