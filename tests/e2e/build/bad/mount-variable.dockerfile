FROM busybox
ARG T=bnid
RUN --mount=type=$T,target=/x true
