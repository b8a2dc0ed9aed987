FROM busybox
ONBUILD RNU true
