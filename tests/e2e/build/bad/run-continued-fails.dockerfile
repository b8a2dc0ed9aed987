FROM busybox
RUN true && \
    echo second && \
    false
