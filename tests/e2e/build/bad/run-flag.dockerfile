FROM busybox
RUN --netwrok=none true
