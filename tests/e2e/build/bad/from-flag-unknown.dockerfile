FROM --pull busybox
