FROM busybox
СOPY a b
