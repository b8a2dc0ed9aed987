FROM busybox
RUN --mount=type=bind,target=/x,bind-propagation=shared true
