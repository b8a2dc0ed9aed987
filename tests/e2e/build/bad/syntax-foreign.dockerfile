# syntax=example.com/mine:1
FROM busybox
