FROM busybox
ADD ftp://example.com/x /x
