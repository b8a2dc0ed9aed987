FROM busybox
COPY <<E /x
a
	E
