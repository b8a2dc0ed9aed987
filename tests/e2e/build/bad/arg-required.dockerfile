FROM busybox
ARG V
ENV X=${V:?give V with --build-arg}
