FROM busybox
RUN if true; then
