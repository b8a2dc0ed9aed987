FROM busybox
ADD <<E /x
a
