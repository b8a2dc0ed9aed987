FROM busybox
VOLUMES /data
