FROM busybox
ARG A=busybox
RUN --mount=from=$A,target=/x true
