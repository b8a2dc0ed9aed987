FROM busybox
RUN echo one >&2; echo two >&2; exit 3
