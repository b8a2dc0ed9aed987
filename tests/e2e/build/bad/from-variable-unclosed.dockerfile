ARG B=busybox
FROM ${B
