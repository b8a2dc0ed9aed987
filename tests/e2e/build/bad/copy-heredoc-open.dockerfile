FROM busybox
COPY <<E /x
text
