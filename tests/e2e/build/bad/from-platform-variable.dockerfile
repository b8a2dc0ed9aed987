FROM --platform=$NOSUCH busybox
