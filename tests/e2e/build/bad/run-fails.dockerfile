FROM busybox
RUN echo some output && exit 3
