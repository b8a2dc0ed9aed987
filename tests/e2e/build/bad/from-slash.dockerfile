FROM /busybox
