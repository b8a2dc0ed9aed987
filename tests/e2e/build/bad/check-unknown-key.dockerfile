# check=ignore=all
FROM busybox
