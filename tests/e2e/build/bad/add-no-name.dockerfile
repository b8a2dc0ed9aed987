FROM busybox
ADD https://127.0.0.1:1/ /x/
