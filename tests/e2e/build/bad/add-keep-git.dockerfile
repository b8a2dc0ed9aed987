FROM busybox
ADD --keep-git-dir=true https://127.0.0.1:1/x /x
