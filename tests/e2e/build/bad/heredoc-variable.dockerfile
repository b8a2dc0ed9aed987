FROM busybox
COPY <<a /x
${b
a
