FROM busybox
ARG A-B=1
RUN echo ${A-B
